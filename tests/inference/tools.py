"""Small generators with random weights, as tools load them, and tools run within the process of a test."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from inr_gan_jax.checkpoint import save_entries
from inr_gan_jax.config import Config
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import build_generator
from tests.conftest import small_release_config, tiny_config


def random_variables(config: Config, scale: float = 0.3) -> dict[str, Any]:
    """Variables that make pictures with something in them."""
    generator = build_generator(config)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: rng.normal(0, scale, leaf.shape).astype(np.float32), shapes)


def small_generator(model: str = "paper", **sections: dict) -> LoadedGenerator:
    config = tiny_config(**sections) if model == "paper" else small_release_config(**sections)
    generator = build_generator(config)
    w_avg = jnp.linspace(-1.0, 1.0, generator.w_dim)
    return LoadedGenerator(generator, random_variables(config), w_avg, config, 0.8, f"small {model}")


def write_run(folder: Path, config: Config) -> Path:
    """Writes a run folder of an untrained generator."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json())
    variables = random_variables(config)
    w_avg = jnp.zeros(build_generator(config).w_dim)
    entries = {"ema_params": variables["params"], "constants": variables["constants"], "w_avg": w_avg}
    save_entries(folder / "checkpoints", 100, entries)
    return folder


@contextlib.contextmanager
def flags_of(tool: ModuleType, *arguments: str) -> Iterator[None]:
    """Within it, the flags of a tool are defined and parsed."""
    before = set(flags.FLAGS)
    tool.define_flags()
    try:
        flags.FLAGS([tool.__name__, *arguments])
        yield
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def run_tool(tool: ModuleType, *arguments: str) -> None:
    """Runs the `main` of a tool as its command would."""
    with flags_of(tool, *arguments):
        tool.main([tool.__name__])


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())
