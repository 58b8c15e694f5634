"""One run of `benchmarks.mesh_equality`, in a process of its own or in one of several.

python -m benchmarks.mesh_worker JSON_OF_A_RUN FILE [PORT NUMBER_OF_PROCESS]
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import digits
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.read.dataset import open_dataset
from inr_gan_jax.data.read.pipeline import make_iterator
from inr_gan_jax.data.read.prefetch import DevicePrefetch, rows_of_process
from inr_gan_jax.distributed import processes
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.optimizers import Optimizers, build_optimizers
from inr_gan_jax.training.sharding import Shardings, shardings_of
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep

STEPS = 20


@dataclasses.dataclass(frozen=True)
class Run:
    """Twenty steps of the demo with everything that depends on how a batch is sharded.

    Attributes:
        data, spatial: its mesh.
        num_processes: that share the devices.
        splits_optimizer: ZeRO-1.
        is_double: float64 instead of float32.
        is_nudged: every initial parameter is the next larger number.
        level: of the compiler's optimisation, 0 to 3.
    """

    data: int = 1
    spatial: int = 1
    num_processes: int = 1
    splits_optimizer: bool = False
    is_double: bool = False
    is_nudged: bool = False
    level: int = 3

    @property
    def num_devices(self) -> int:
        """Over all processes."""
        return self.data * self.spatial

    def config(self) -> Config:
        """Minibatch stddev, lazy R1 (due twice), ADA and two microbatches."""
        config = digits.get_config("ada")
        config.update(
            {
                "augment": {"initial_p": 0.5},
                "training": {"batch_size": 16, "num_microbatches": 2},
                "sharding": {"spatial": self.spatial, "optimizer": self.splits_optimizer},
            }
        )
        return parse_config(config)


def train(run: Run, group: processes.Processes) -> dict[str, np.ndarray]:
    """Trains one run in a group of processes.

    Returns:
        Parameters before the first and after each step, [steps + 1, ...], and the gradients of each optimizer's newest
        step, zeros at first, by name.
    """
    config = run.config()
    optimizers = build_optimizers(config)
    optimizers = Optimizers(remembering(optimizers.generator), remembering(optimizers.discriminator))
    parts = (build_generator(config, for_training=True), build_discriminator(config), optimizers)
    size = config.training.batch_size
    shardings = shardings_of(jax.devices()[: run.num_devices], size, config.sharding)
    rows = rows_of_process(shardings.batch, size)
    iterator = make_iterator(open_dataset(config.data), config.data, size, config.seed, rows)
    batches = DevicePrefetch(iterator, shardings.batch)
    # Initialised on one device, so that all runs start bit-equal.
    first = jax.device_get(jax.jit(lambda: initial(run, config, parts))())
    state, batch = jax.device_put(first, shardings.of_state(first)), next(batches)
    step = jax.jit(TrainStep(config, *parts, shardings).__call__).lower(state, batch).compile()
    # Whoever compiled first would wait for the others in the first collective, and no longer than half a minute.
    group.gather_from_all("compile", lambda: None, seconds=None)
    kept = [seen(state, shardings)]
    for _ in range(STEPS):
        # One program at a time: those for several CPU devices share a pool of threads and can starve each other.
        state = jax.block_until_ready(step(state, batch)[0])
        kept.append(seen(state, shardings))
        batch = next(batches)
    return {name: np.stack([each[name] for each in kept]) for name in kept[0]}


def remembering(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimizer, whose state also holds the newest gradients."""

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params), optimizer.init(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        changes, inner = optimizer.update(updates, state[1], params)
        return changes, (updates, inner)

    return optax.GradientTransformation(init, update)


def initial(run: Run, config: Config, parts: Any) -> TrainState:
    """The state before the first step."""
    state = init_state(config, *parts)
    if run.is_double:
        state = jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state
        )
    if not run.is_nudged:
        return state
    networks = (state.generator_params, state.discriminator_params)
    generator, discriminator = jax.tree.map(lambda leaf: jnp.nextafter(leaf, jnp.inf), networks)
    return state.replace(generator_params=generator, discriminator_params=discriminator)


def seen(state: TrainState, shardings: Shardings) -> dict[str, np.ndarray]:
    """What is compared, whole in every process."""
    generator_opt, discriminator_opt = cast(Any, (state.generator_opt, state.discriminator_opt))
    tree = {
        "parameters": {
            "generator": state.generator_params,
            "discriminator": state.discriminator_params,
            "average": state.ema_params,
        },
        "gradients": {"generator": generator_opt[0], "discriminator": discriminator_opt[0]},
    }
    whole = jax.jit(lambda tree: tree, out_shardings=shardings.replicated)(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf.addressable_data(0))
        for path, leaf in jax.tree_util.tree_flatten_with_path(whole)[0]
    }


def main() -> None:
    """Trains as the command line says; the first process writes the file."""
    run, file = Run(**json.loads(sys.argv[1])), pathlib.Path(sys.argv[2])
    membership = None
    if run.num_processes > 1:
        membership = processes.Membership(f"127.0.0.1:{sys.argv[3]}", run.num_processes, int(sys.argv[4]))
    with processes.joined(membership) as group:
        with jax.enable_x64(run.is_double):
            arrays = train(run, group)
        if group.is_primary:
            np.savez(file, **cast(Any, arrays))


if __name__ == "__main__":
    main()
