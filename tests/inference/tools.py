"""Small generators with random weights, as tools load them, and tools run within the process of a test."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from absl import flags

from inr_gan_jax.checkpoint.manager import save_entries
from inr_gan_jax.cli.command import own_flags
from inr_gan_jax.config.schema import Config
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.models.generator import Modulation
from tests.conftest import small_release_config, tiny_config


def random_generator(config: Config, scale: float = 0.3) -> LoadedGenerator:
    """A generator whose weights and constants are normal with a deviation of `scale`."""
    generator = build_generator(config)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: rng.normal(0, scale, leaf.shape).astype(np.float32), shapes)
    w_avg = np.linspace(-1, 1, generator.w_dim, dtype=np.float32)
    return LoadedGenerator(generator, variables, w_avg, config, 0.8, f"small {config.model}")


def small_generator(model: str = "paper", **sections: dict) -> LoadedGenerator:
    return random_generator(tiny_config(**sections) if model == "paper" else small_release_config(**sections))


@functools.cache
def loaded_paper(num_classes: int = 0) -> LoadedGenerator:
    return random_generator(tiny_config(data={"num_classes": num_classes}, paper={"class_embedding_dim": 4}))


@functools.cache
def loaded_release() -> LoadedGenerator:
    """One whose pictures differ from seed to seed."""
    loaded = random_generator(small_release_config(), 1.0)
    # Its learning rate is a hundredth, and so are its weights at run time.
    params = loaded.variables["params"]
    params["mapping_network"] = jax.tree.map(lambda leaf: 100 * leaf, params["mapping_network"])
    for name in ("blocks_4", "blocks_8"):
        params[name]["to_rgb"]["kernel"] *= 0.1
        params[name]["to_rgb"]["bias"] *= 0.1
    return loaded


def image_of(loaded: LoadedGenerator, seed: int = 5) -> Modulation:
    return select(sample_modulations(loaded, [seed]), 0)


def write_run(folder: Path, config: Config, scale: float = 0.3) -> Path:
    """Writes a run folder of a generator of random weights."""
    loaded = random_generator(config, scale)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json())
    params, constants = loaded.variables["params"], loaded.variables["constants"]
    save_entries(folder / "checkpoints", 100, {"ema_params": params, "constants": constants, "w_avg": loaded.w_avg})
    return folder


@contextlib.contextmanager
def only_flags_of(tool: ModuleType) -> Iterator[list[str]]:
    """Within it, the flags of a tool are defined, and those that other entry points define on import are not.

    Yields:
        The names of the flags of the tool.
    """
    others = {name: flags.FLAGS[name] for name in own_flags(flags.FLAGS)}
    modules = {name: flags.FLAGS.find_module_defining_flag(name) for name in others}
    for name in others:
        delattr(flags.FLAGS, name)
    before = set(flags.FLAGS)
    try:
        tool.define_flags()
        yield sorted(set(flags.FLAGS) - before)
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        for name, flag in others.items():
            flags.FLAGS[name] = flag
            flags.FLAGS.register_flag_by_module(modules[name], flag)
        flags.FLAGS.unparse_flags()


@contextlib.contextmanager
def flags_of(tool: ModuleType, *arguments: str) -> Iterator[list[str]]:
    """Within it, the flags of a tool are defined and parsed; gives what `main` takes."""
    with only_flags_of(tool):
        yield flags.FLAGS([tool.__name__, *arguments])


def run_tool(tool: ModuleType, *arguments: str) -> None:
    """Runs the `main` of a tool as its command would."""
    with flags_of(tool, *arguments) as words:
        tool.main(words)


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())
