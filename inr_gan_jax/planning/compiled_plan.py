"""Compiles a training step for a machine that need not be present, and reads what the compiler reports."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning.chips import GIB, Chip, chip_of
from inr_gan_jax.planning.dry_run import abstract_step
from inr_gan_jax.training.phase_inputs import sample_phase_inputs
from inr_gan_jax.training.phase_losses import Phase
from inr_gan_jax.training.sharding import Shardings, shardings_of

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_ITEM_SIZES = {
    "f64": 8,
    "f32": 4,
    "bf16": 2,
    "f16": 2,
    "s64": 8,
    "s32": 4,
    "u32": 4,
    "u64": 8,
    "s8": 1,
    "u8": 1,
    "pred": 1,
}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each device during a step.

    Attributes:
        parameters: of both networks, and of the averaged generator.
        optimizer: moments of both networks.
        other_state: constants, counters and the batch.
        temporaries: activations and everything else that lives within the step.
        capacity: of the device; None if unknown.
    """

    parameters: int
    optimizer: int
    other_state: int
    temporaries: int
    capacity: int | None

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.parameters + self.optimizer + self.other_state + self.temporaries


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of communication in a step.

    Attributes:
        kind: of the operation.
        count: in the program.
        num_bytes: of all results, on each device.
    """

    kind: str
    count: int
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class CompiledPlan:
    """What the compiler reports about a step.

    Attributes:
        num_devices: of the machine.
        device_kind: of each of them.
        chip: its figures; None if unknown.
        memory: on each device.
        bytes_accessed: between memory and chip in a step, on each device, as the compiler counts; 0 if unknown.
        collectives: in the program, in all branches.
    """

    num_devices: int
    device_kind: str
    chip: Chip | None
    memory: Memory
    bytes_accessed: float
    collectives: tuple[Collective, ...]


class DoesNotFitError(UserError):
    """The step needs more memory than a device has."""


def devices_of(topology: str) -> Sequence[Any]:
    """The devices of a machine by name.

    Args:
        topology: `cpu:8` and the like, for which `prepare_process` was called; `present` for the devices of this
            machine; or a TPU slice such as `v5e:4x4`, which needs the package libtpu and no TPU.

    Raises:
        UserError: for an unknown name, or without libtpu.
    """
    if topology == "present" or re.fullmatch(r"cpu:\d+", topology):
        return jax.devices()
    # A slice of one chip has one host; larger slices have the hosts of their generation.
    options: dict[str, Any] = {}
    if re.fullmatch(r"\w+:1x1(x1)?", topology):
        options["chips_per_host_bounds"] = [1, 1, 1]
    if topology.startswith("v4:"):
        # One device per chip of two cores, as when JAX runs on it.
        options["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(topology, "tpu", **options).devices
    except Exception as error:  # of many kinds, with and without libtpu
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"topology {topology!r} cannot be compiled for ({reason}); expected present, cpu:<devices>, or a TPU slice "
            "such as v5e:4x4, v4:2x2x2 or v6e:4x4, which needs pip install libtpu"
        ) from error


def flops_of_phases(config: Config) -> dict[Phase, float]:
    """Floating-point operations of each phase for the whole batch, counted in the program as written for a TPU."""
    # The body of a loop would be counted once.
    whole = dataclasses.replace(config, training=dataclasses.replace(config.training, num_microbatches=1))
    state, batch, step, _ = abstract_step(whole)
    images = jax.eval_shape(step.prepare, batch)
    counts: dict[Phase, float] = {}
    for phase in step.intervals():

        def run(state: Any, images: Any, phase: Phase = phase) -> Any:
            inputs = sample_phase_inputs(whole, step.generator, step.losses.augmentation, images, jax.random.key(0))
            return step.run_phase(phase, state, inputs)

        analysis = jax.jit(run).trace(state, images).lower(lowering_platforms=("tpu",)).cost_analysis()
        counts[phase] = float(analysis["flops"]) if analysis else float("nan")
    return counts


def flops_per_step(config: Config, phases: dict[Phase, float]) -> float:
    """Operations per step for the whole batch, with lazy phases spread over their intervals."""
    _, _, step, _ = abstract_step(config)
    return sum(phases[phase] / interval for phase, interval in step.intervals().items())


def compile_step(config: Config, devices: Sequence[Any]) -> CompiledPlan:
    """Compiles the real training step for some devices and reads what the compiler reports.

    Raises:
        DoesNotFitError: if it needs more memory than a device has; the message says how much more.
        UserError: if the batch does not divide by the devices.
    """
    shardings = shardings_of(devices, config.training.batch_size, config.sharding)
    state, batch, step, _ = abstract_step(config)
    step = dataclasses.replace(step, shardings=shardings)
    arguments = (
        jax.tree.map(_with_sharding, state, shardings.of_state(state)),
        {name: _with_sharding(leaf, shardings.batch) for name, leaf in batch.items()},
    )
    try:
        compiled = jax.jit(step.__call__, donate_argnums=0).lower(*arguments).compile()
    except Exception as error:  # the compilers raise kinds of their own
        raise _explained(error, config, shardings, _bytes_per_device(arguments)) from error
    return _read(compiled, state, shardings)


def _with_sharding(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes_per_device(tree: Any) -> int:
    """Bytes that each device holds of sharded arrays."""
    return sum(
        jnp.dtype(leaf.dtype).itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(tree)
    )


def _explained(error: Exception, config: Config, shardings: Shardings, arguments: int) -> Exception:
    """A DoesNotFitError for an error about memory; other errors are returned unchanged.

    Args:
        error: of a compiler.
        config: of the run.
        shardings: of its arrays.
        arguments: bytes of state and batch on each device.
    """
    text = str(error)
    # Compilers report all memory in use, or temporaries alone, to which the state must be added.
    used = re.search(r"Used ([\d.]+)([GMK]) of ([\d.]+)([GMK])", text)
    temporaries = re.search(r"temporaries \(([\d.]+)([GMK])\) exceeds available HBM \(([\d.]+)([GMK])\)", text)
    used = used or temporaries
    if "RESOURCE_EXHAUSTED" not in text and not used:
        return error
    batch, count = config.training.batch_size, shardings.num_devices
    sentence = f"a batch of {batch} on {count} devices, {batch / count:g} images each, does not fit"
    if used:
        units = {"G": 1.0, "M": 1 / 1024, "K": 1 / 2**20}
        need, room = float(used[1]) * units[used[2]], float(used[3]) * units[used[4]]
        need += arguments / GIB if used is temporaries else 0
        sentence += f": it needs {need:.2f} GiB of the {room:.2f} GiB of a device, {need - room:.2f} GiB too much"
    return DoesNotFitError(f"{sentence}; choose a smaller --batch, or config.training.remat=True")


def _read(compiled: Any, state: Any, shardings: Shardings) -> CompiledPlan:
    device = shardings.mesh.devices.flat[0]
    chip = chip_of(device)
    analysis = compiled.memory_analysis()
    parameters = _num_bytes((state.generator_params, state.discriminator_params, state.ema_params))
    optimizer = _num_bytes((state.generator_opt, state.discriminator_opt))
    memory = Memory(
        parameters=parameters,
        optimizer=optimizer,
        other_state=max(0, analysis.argument_size_in_bytes - parameters - optimizer),
        # Aliased results reuse the memory of donated arguments.
        temporaries=analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
        capacity=chip.memory if chip else None,
    )
    costs = compiled.cost_analysis() or {}
    return CompiledPlan(
        num_devices=shardings.num_devices,
        device_kind=device.device_kind,
        chip=chip,
        memory=memory,
        bytes_accessed=float(costs.get("bytes accessed", 0.0)),
        collectives=collectives_in(compiled.as_text()),
    )


def _num_bytes(tree: Any) -> int:
    return sum(jnp.dtype(leaf.dtype).itemsize * leaf.size for leaf in jax.tree.leaves(tree))


def collectives_in(text: str) -> tuple[Collective, ...]:
    """Counts the communication in a compiled program.

    Args:
        text: of the program, in HLO.
    """
    found = []
    for kind in COLLECTIVES:
        # A result is one shape or a tuple of them, which may hold comments.
        results = re.findall(rf"^.*? = (.*?) {kind}(?:-start)?\(", text, re.MULTILINE)
        if results:
            found.append(Collective(kind, len(results), sum(_result_bytes(result) for result in results)))
    return tuple(found)


def _result_bytes(result: str) -> int:
    """Bytes of a result such as `f32[8,3]{1,0}` or of a tuple of them."""
    total = 0
    for kind, sizes in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", result):
        count = 1
        for size in filter(None, sizes.split(",")):
            count *= int(size)
        total += _ITEM_SIZES.get(kind, 0) * count
    return total


def gibibytes(num_bytes: float) -> str:
    """Bytes as "1.23 GiB"."""
    return f"{num_bytes / GIB:.2f} GiB"
