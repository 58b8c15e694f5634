"""Our side of `benchmarks.against_official`: the same tasks, line by line.

python -m benchmarks.jax_worker TASK
"""

import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.networks import at_side
from configs import lsun
from inr_gan_jax.cli.command import set_cpu_threads
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.state import init_state
from inr_gan_jax.training.steps import TrainStep


def release_config(resolution: int, batch: int) -> Config:
    """The published network and training of the official code, at any resolution up to 256."""
    return at_side(lsun.get_config("church,release").to_dict(), resolution, batch)


def render(batch: int) -> Callable[[], None]:
    """One forward pass from z to images of 256x256."""
    generator = build_generator(release_config(256, batch))
    variables = jax.jit(generator.init)(jax.random.key(0))
    z = generator.latents(jax.random.key(1), batch)
    images = jax.jit(generator.images)

    def once() -> None:
        jax.block_until_ready(images(variables, z))

    return once


def super_resolve(size: int) -> Callable[[], None]:
    """One forward pass of the `paper` network of 256x256 from z to an image of another size, by the paper's rule."""
    generator = build_generator(parse_config(lsun.get_config()))
    variables = jax.jit(generator.init)(jax.random.key(0))
    z = generator.latents(jax.random.key(1), 1)
    images = jax.jit(lambda variables, z: generator.images(variables, z, viewport=Viewport(size, size, rule="paper")))

    def once() -> None:
        jax.block_until_ready(images(variables, z))

    return once


def train(phase: str, batch: int = 8) -> Callable[[], None]:
    """One step at 64x64: `plain` without, `lazy` with the lazy penalty; weights are averaged in both."""
    config = release_config(64, batch)
    generator, discriminator = build_generator(config, for_training=True), build_discriminator(config)
    optimizers = build_optimizers(config)
    step = jax.jit(TrainStep(config, generator, discriminator, optimizers).__call__, donate_argnums=0)
    state = jax.jit(lambda: init_state(config, generator, discriminator, optimizers))()
    images = jax.random.randint(jax.random.key(2), (batch, 64, 64, 3), 0, 256, jnp.int32).astype(jnp.uint8)
    data = {"image": images, "label": jnp.zeros(batch, jnp.int32)}

    def once() -> None:
        nonlocal state
        number = 0 if phase == "lazy" else 1
        state, scalars = step(state.replace(step=jnp.asarray(number, jnp.int32)), data)
        jax.block_until_ready((state, scalars))

    return once


def main() -> None:
    """Answers until stdin ends."""
    # As a run does; the first turn of the first run fills the cache, whose use also keeps the compiler's memory away.
    set_cpu_threads(one_an_operation=False)
    cache = parse_config(lsun.get_config()).compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(cache).expanduser()))
    kind, _, argument = sys.argv[1].partition(":")
    makers = {"render": render, "super_resolve": super_resolve, "train": train}
    once = makers[kind](int(argument) if argument.isdigit() else argument)
    for _ in sys.stdin:
        started = time.perf_counter()
        once()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
