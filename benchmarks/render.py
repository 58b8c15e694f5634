"""Time, operations and memory of one image against its number of pixels.

    python -m benchmarks.render --config=configs/lsun.py --sides=16,32,64,128,256,512,1024 \
        --output=benchmarks/results/render.json --plot=docs/images/growth_render.png

The modulation is given, so what is measured is the INR. Weights are random; no checkpoint is needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import flags

from benchmarks.recording import Row, define_record_flags, finish, seconds_of, timed, whole_numbers
from inr_gan_jax.array_types import Variables
from inr_gan_jax.cli.command import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.inference.viewports import fit_viewport
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.models.generator import Generator


def measure(generator: Generator, variables: Variables, side: int, batch: int, turns: int) -> Row:
    """One row: a batch of square pictures of some side."""
    view = fit_viewport(generator, (side, side))
    ws = generator.batch_mapping(variables, generator.latents(jax.random.key(1), batch))
    modulations = jax.jit(jax.vmap(lambda w: generator.modulation(variables, w)))(ws)

    def render_all(variables: Variables, modulations: Any) -> jax.Array:
        return jax.vmap(lambda modulation: generator.render(variables, modulation, view))(modulations)

    program = jax.jit(render_all).lower(variables, modulations).compile()
    row = timed(seconds_of(lambda: program(variables, modulations), turns))
    memory: Any = program.memory_analysis()
    costs = program.cost_analysis() or {}
    pixels = batch * side * side
    return {
        "pixels": pixels,
        **row,
        "images_per_second": batch / row["median_seconds"],
        "nanoseconds_a_pixel": 1e9 * row["median_seconds"] / pixels,
        "gflop": costs.get("flops", float("nan")) / 1e9,
        "temporary_mib": memory.temp_size_in_bytes / 2**20,
    }


def plot(rows: Mapping[str, Row], path: str) -> None:
    """Seconds and memory against pixels, both axes logarithmic, with lines of slope 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pixels = [row["pixels"] for row in rows.values()]
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for axes, key, label in zip(panels, ("median_seconds", "temporary_mib"), ("seconds", "MiB"), strict=True):
        values = [row[key] for row in rows.values()]
        axes.loglog(pixels, values, "o-", label="measured")
        axes.loglog(pixels, [values[-1] * each / pixels[-1] for each in pixels], "--", color="grey", label="linear")
        axes.set(xlabel="pixels", ylabel=label, title={"seconds": "time", "MiB": "temporary memory"}[label])
        axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    sides = whole_numbers("sides")
    set_cpu_threads(one_an_operation=False)
    generator = build_generator(parse_config(values.config))
    variables = jax.jit(generator.init)(jax.random.key(0))
    rows = {str(side): measure(generator, variables, side, values.batch_size, values.turns) for side in sides}
    finish(rows, {"config": values.config.name, "batch_size": values.batch_size})
    if values.plot:
        plot(rows, values.plot)


if __name__ == "__main__":
    define_config_flag()
    define_record_flags()
    flags.DEFINE_list("sides", ["16", "32", "64", "128", "256", "512", "1024"], "Sides of the pictures in pixels.")
    flags.DEFINE_integer("batch_size", 1, "Images at a time.", 1)
    flags.DEFINE_string("plot", None, "PNG of time and memory against pixels.")
    run(main)
