"""Speed-up of coarser grids at a full-width network with random weights, where compute dominates.

    python -m benchmarks.low_res --config=configs/lsun.py --output=benchmarks/results/low_res.json

Times `render` alone (the modulation is given) at the trained size and at 1/2, 1/4, 1/8 and 1/16 of its side, in turns
in one run, and counts the floating-point operations of the compiled programs.
"""

import json
import os
import pathlib
import platform
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
from absl import flags

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
    """Measures, and prints or stores the JSON."""
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
            "seconds_an_image": seconds[name],
            "speed_up": seconds["1"] / seconds[name],
            "gflop": gflops[name],
            "fewer_operations": gflops["1"] / gflops[name],
        }
        for name in views
    }
    result = {
        "config": config.name,
        "size": generator.size,
        "rule": {name: view.rule for name, view in views.items()},
        "batch_size": flags.FLAGS.batch_size,
        "turns": flags.FLAGS.turns,
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "rows": rows,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if flags.FLAGS.output:
        pathlib.Path(flags.FLAGS.output).write_text(text + "\n")


if __name__ == "__main__":
    define_config_flag()
    flags.DEFINE_integer("batch_size", 1, "Images at a time.", 1)
    flags.DEFINE_integer("turns", 5, "How often each size is measured; the median counts.", 1)
    flags.DEFINE_string("output", None, "JSON file to write.")
    run(main)
