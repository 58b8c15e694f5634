"""Seconds, images a second and share of the chip's peak of a training step, against batch and size.

    python -m benchmarks.train_step --config=configs/lsun.py:church,release --batches=16,32,64 \
        --config.training.precision=bfloat16 --output=benchmarks/results/train_step.json

    python -m benchmarks.train_step --config=configs/lsun.py:church,release --batches=2,4 --sides=32,64 \
        --output=benchmarks/results/train_step_growth.json --plot=docs/images/growth_step.png

A step with the lazy phases and one without are measured apart, and spread as a run does. Images are random.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.networks import at_side, with_batch
from benchmarks.recording import Row, define_record_flags, finish, seconds_of, whole_numbers
from inr_gan_jax.cli.command import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.planning.chips import chip_of
from inr_gan_jax.planning.compiled_plan import flops_of_phases, flops_per_step
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.sharding import make_shardings
from inr_gan_jax.training.state import init_state
from inr_gan_jax.training.steps import TrainStep


def measure(config: Config, turns: int) -> Row:
    """One row: the step of a configuration on all devices."""
    parts = (build_generator(config, for_training=True), build_discriminator(config), build_optimizers(config))
    shardings = make_shardings(config.num_devices, config.training.batch_size, config.sharding)
    train_step = TrainStep(config, *parts, shardings)
    placement = shardings.of_state(jax.eval_shape(lambda: init_state(config, *parts)))
    state = jax.jit(lambda: init_state(config, *parts), out_shardings=placement)()
    shape = (config.training.batch_size, config.data.height, config.data.width, config.data.channels)
    images = jax.random.randint(jax.random.key(0), shape, 0, 256, jnp.int32).astype(jnp.uint8)
    batch = jax.device_put({"image": images, "label": jnp.zeros(shape[0], jnp.int32)}, shardings.batch)
    program = jax.jit(train_step.__call__, donate_argnums=0).lower(state, batch).compile()
    longest = max(train_step.intervals().values())
    number = np.int32(0)

    def once() -> Any:
        nonlocal state
        # The step is donated with the rest of the state, so it is put there anew.
        state, scalars = program(state.replace(step=jax.device_put(number, shardings.replicated)), batch)
        return scalars

    seconds: dict[str, list[float]] = {}
    for name, step in (("plain", 1), ("lazy", 0)):
        number = np.int32(step)
        if longest > 1 or name == "lazy":
            seconds[name] = seconds_of(once, turns)
    return _row(config, seconds, longest, program)


def _row(config: Config, seconds: dict[str, list[float]], longest: int, program: Any) -> Row:
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    mean = medians["lazy"] if longest == 1 else (medians["plain"] * (longest - 1) + medians["lazy"]) / longest
    flops = flops_per_step(config, flops_of_phases(config))
    memory, chip = program.memory_analysis(), chip_of(jax.devices()[0])
    row = {
        "seconds": seconds,
        "median_seconds": mean,
        "images_per_second": config.training.batch_size / mean,
        "tflop_a_step": flops / 1e12,
        "gflop_per_second": flops / mean / 1e9,
        "arguments_mib": memory.argument_size_in_bytes / 2**20,
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
    }
    if chip is not None:
        row["share_of_peak"] = flops / mean / chip.flops / jax.device_count()
    in_use = jax.devices()[0].memory_stats()
    if in_use and "peak_bytes_in_use" in in_use:
        row["peak_mib"] = in_use["peak_bytes_in_use"] / 2**20
    return row


def plot(rows: Mapping[str, Row], path: str) -> None:
    """Seconds and memory against the pixels of a batch, a line for each side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for axes, key, label in zip(panels, ("median_seconds", "temporary_mib"), ("seconds", "MiB"), strict=True):
        for side in sorted({row["side"] for row in rows.values()}):
            points = sorted((row["batch"] * side**2, row[key]) for row in rows.values() if row["side"] == side)
            axes.loglog(*zip(*points, strict=True), "o-", label=f"{side} x {side}")
        axes.set(
            xlabel="pixels of a batch", ylabel=label, title={"seconds": "a step", "MiB": "temporary memory"}[label]
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    config = parse_config(values.config)
    batches = whole_numbers("batches") or [config.training.batch_size]
    sides = whole_numbers("sides")
    if sides and config.model != "release":
        raise UserError(f"--sides needs a configuration of the release model, got {config.name}")
    set_cpu_threads(one_an_operation=config.one_cpu_thread)
    rows = {}
    for batch in batches:
        for side in sides or [config.data.height]:
            chosen = at_side(values.config.to_dict(), side, batch) if sides else with_batch(config, batch)
            rows[f"{batch} x {side}"] = {"batch": batch, "side": side, **measure(chosen, values.turns)}
            print(f"{batch} images of {side}: done", file=sys.stderr, flush=True)
    settings = {"config": config.name, "precision": config.training.precision, "remat": config.training.remat}
    finish(rows, settings)
    if values.plot:
        plot(rows, values.plot)


if __name__ == "__main__":
    define_config_flag()
    define_record_flags()
    flags.DEFINE_list("batches", [], "Images per step, one row each; that of the configuration by default.")
    flags.DEFINE_list("sides", [], "Sides of the pictures of a release network, one row each; its own by default.")
    flags.DEFINE_string("plot", None, "PNG of time and memory against the pixels of a batch.")
    run(main)
