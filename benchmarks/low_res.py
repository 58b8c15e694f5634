"""Speed-up of coarser grids at a full-width network with random weights, where compute dominates.

    python -m benchmarks.low_res --config=configs/lsun.py --output=benchmarks/results/low_res.json

Times `render` alone (the modulation is given) at the trained size and at 1/2, 1/4, 1/8 and 1/16 of its side, in turns
in one run, and counts the floating-point operations of the compiled programs.
"""

from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks.recording import define_record_flags, finish
from inr_gan_jax.cli.command import define_config_flag, run
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.low_resolution import coarse_view, measure_seconds
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.ops.viewport import Viewport

_PARTS = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 8), Fraction(1, 16))


def operations(loaded: LoadedGenerator, modulation: object, view: Viewport) -> float:
    """GFLOP of the compiled `render` of one image, as the compiler counts them."""
    grids = loaded.generator.grids(view)
    program = jax.jit(loaded.generator.render_grids).lower(loaded.variables, modulation, grids).compile()
    analysis = program.cost_analysis()
    return float(analysis["flops"]) / 1e9 if analysis else float("nan")


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    config = parse_config(flags.FLAGS.config)
    generator = build_generator(config)
    variables = jax.jit(generator.init)(jax.random.key(0))
    loaded = LoadedGenerator(generator, variables, jnp.zeros(generator.w_dim), config, 0.0, config.name)
    modulations = sample_modulations(loaded, range(flags.FLAGS.batch_size))
    views = {"1": generator.native_viewport}
    views |= {str(part): coarse_view(loaded, part, antialias=True) for part in _PARTS}
    seconds = measure_seconds(loaded, modulations, views, flags.FLAGS.turns)
    gflops = {name: operations(loaded, select(modulations, 0), view) for name, view in views.items()}
    rows = {
        name: {
            "median_seconds": seconds[name],
            "speed_up": seconds["1"] / seconds[name],
            "gflop": gflops[name],
            "fewer_operations": gflops["1"] / gflops[name],
        }
        for name in views
    }
    finish(rows, {"config": config.name, "size": generator.size, "batch_size": flags.FLAGS.batch_size})


if __name__ == "__main__":
    define_config_flag()
    flags.DEFINE_integer("batch_size", 1, "Images per batch.", 1)
    define_record_flags()
    run(main)
