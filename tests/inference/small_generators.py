"""Loaded generators of random weights, and commands run in this process."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from inr_gan_jax.config import Config
from inr_gan_jax.inference.codes import draw_modulations, take
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.models.generator import Modulation
from tests.conftest import small_release_config, tiny_config


@functools.cache
def loaded_paper(num_classes: int = 0) -> LoadedGenerator:
    return loaded_of(tiny_config(data={"num_classes": num_classes}, paper={"class_embedding_dim": 4}), 0.3)


@functools.cache
def loaded_release() -> LoadedGenerator:
    loaded = loaded_of(small_release_config(), 1.0)
    # Its learning rate is a hundredth, and so are its weights at run time.
    params = loaded.variables["params"]
    params["mapping_network"] = jax.tree.map(lambda leaf: 100 * leaf, params["mapping_network"])
    for name in ("blocks_4", "blocks_8"):
        params[name]["to_rgb"]["kernel"] *= 0.1
        params[name]["to_rgb"]["bias"] *= 0.1
    return loaded


def loaded_of(config: Config, scale: float) -> LoadedGenerator:
    generator = build_generator(config)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: rng.normal(0, scale, leaf.shape).astype(np.float32), shapes)
    w_avg = jnp.asarray(rng.normal(0, 1, generator.w_dim), jnp.float32)
    return LoadedGenerator(generator, variables, w_avg, None, 0.0, "small")


def image_of(loaded: LoadedGenerator, seed: int = 5) -> Modulation:
    return take(draw_modulations(loaded, [seed]), 0)


@contextmanager
def command(module: ModuleType, *arguments: str) -> Iterator[list[str]]:
    """Defines and parses the flags of a command; gives what `main` takes."""
    before = set(flags.FLAGS)
    module.define_flags()
    try:
        yield flags.FLAGS([module.__name__, *arguments])
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
