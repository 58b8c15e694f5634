"""Loads generators from run folders, official pickles and weights files, and saves them."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.checkpoint.manager import restore_newest_entries
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.config.validate import ConfigError
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.imported_run import imported_config
from inr_gan_jax.importers.safe_pickle import read_official_checkpoint
from inr_gan_jax.importers.torch_inr_gan import import_discriminator, import_generator
from inr_gan_jax.importers.weights_file import load_weights, save_weights
from inr_gan_jax.inference.choices import WEIGHTS_SUFFIXES
from inr_gan_jax.models.build import build_generator, generator_of
from inr_gan_jax.models.generator import Generator


@dataclasses.dataclass(frozen=True)
class LoadedGenerator:
    """A trained generator.

    Attributes:
        generator: network.
        variables: of the averaged generator (EMA).
        w_avg: [w_dim], mean of the intermediate latent codes, for truncation; None if the file does not hold it.
        config: of the run that trained it; None for a file of weights.
        kimg: thousands of real images shown; 0 if unknown.
        source: name of the run folder or file.
    """

    generator: Generator
    variables: Variables
    w_avg: Array | None
    config: Config | None
    kimg: float
    source: str


def load_generator(path: str | os.PathLike[str]) -> LoadedGenerator:
    """Loads a generator.

    Args:
        path: a run folder; an official network pickle; or weights written by us, .safetensors or .npz.

    Raises:
        UserError: if it does not exist, is damaged, or is none of these.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return load_run(path)
    if path.suffix in WEIGHTS_SUFFIXES:
        return load_weights_file(path)
    if not path.exists():
        raise UserError(
            f"{path} does not exist, expected a run folder (make demo writes runs/digits), an official .pkl, or "
            "weights as .safetensors or .npz"
        )
    return load_official(path)


def load_run(workdir: Path) -> LoadedGenerator:
    """Loads the averaged generator of the newest intact checkpoint of a run folder.

    Args:
        workdir: run folder, holding `config.json` and `checkpoints/`.

    Raises:
        UserError: if there is no run, no checkpoint, or no intact one.
    """
    config_path = workdir / "config.json"
    if not config_path.is_file():
        raise UserError(f"{workdir} is not a run folder: {config_path} does not exist")
    try:
        config = parse_config(json.loads(config_path.read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{config_path} cannot be read ({error})") from error
    except ConfigError as error:
        raise UserError(f"{config_path}: {error}") from error
    generator = build_generator(config)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))
    w_avg = jax.ShapeDtypeStruct((generator.w_dim,), jnp.float32)
    entries = {"ema_params": shapes["params"], "constants": shapes["constants"], "w_avg": w_avg}
    restored, step = restore_newest_entries(workdir / "checkpoints", entries)
    return LoadedGenerator(
        generator=generator,
        variables={"params": restored["ema_params"], "constants": restored["constants"]},
        w_avg=restored["w_avg"],
        config=config,
        kimg=step * config.training.batch_size / 1000,
        source=workdir.absolute().name,
    )


def load_official(path: str | os.PathLike[str]) -> LoadedGenerator:
    """Loads the averaged generator of an official checkpoint, without PyTorch and without executing its code.

    The configuration is that of an imported run; the file does not hold the length of training.

    Raises:
        UserError: if the file is missing, damaged, hostile or of another network.
    """
    checkpoint = read_official_checkpoint(path, ["G_ema", "D"])
    averaged = import_generator(checkpoint, "G_ema")
    config = imported_config(checkpoint, averaged, import_discriminator(checkpoint))
    return LoadedGenerator(
        generator=build_generator(config),
        variables=averaged.variables,
        w_avg=jnp.asarray(averaged.w_avg),
        config=config,
        kimg=0.0,
        source=Path(path).name,
    )


def load_weights_file(path: str | os.PathLike[str]) -> LoadedGenerator:
    """Loads a generator that `save_generator` wrote.

    Raises:
        UserError: if the file is missing, damaged or of another kind.
    """
    settings, variables = load_weights(path)
    w_avg = variables.get("statistics", {}).get("w_avg")
    return LoadedGenerator(
        generator=generator_of(settings),
        variables={"params": variables["params"], "constants": variables.get("constants", {})},
        w_avg=None if w_avg is None else jnp.asarray(w_avg),
        config=None,
        kimg=0.0,
        source=Path(path).name,
    )


def save_generator(path: str | os.PathLike[str], loaded: LoadedGenerator) -> None:
    """Writes a generator, with its mean of w if it has one, so that `load_generator` reads it back.

    Args:
        path: ends in .safetensors or .npz.
        loaded: the generator.

    Raises:
        UserError: if the path has another suffix or cannot be written.
    """
    variables: dict[str, Any] = {"params": loaded.variables["params"], "constants": loaded.variables["constants"]}
    if loaded.w_avg is not None:
        variables["statistics"] = {"w_avg": loaded.w_avg}
    save_weights(path, loaded.generator.settings, variables)
