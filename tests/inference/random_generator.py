"""Generators of random weights, loaded or as run folders."""

from pathlib import Path

import jax
import numpy as np

from inr_gan_jax.checkpoint import save_entries
from inr_gan_jax.config import Config
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import build_generator


def random_generator(config: Config, scale: float = 0.3) -> LoadedGenerator:
    """A generator whose weights and constants are normal with a deviation of `scale`."""
    generator = build_generator(config)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: rng.normal(0, scale, leaf.shape).astype(np.float32), shapes)
    w_avg = np.zeros(generator.w_dim, np.float32)
    return LoadedGenerator(generator, variables, w_avg, config, kimg=0.8, source="random")


def write_run(folder: Path, config: Config, scale: float = 0.3) -> Path:
    """Writes a run folder of it, and returns the folder."""
    loaded = random_generator(config, scale)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json())
    params, constants = loaded.variables["params"], loaded.variables["constants"]
    save_entries(folder / "checkpoints", 100, {"ema_params": params, "constants": constants, "w_avg": loaded.w_avg})
    return folder
