"""From a run folder to a generator that draws."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.checkpoint import restore_newest_entries
from inr_gan_jax.config import Config, ConfigError
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.models.generator import Generator


@dataclasses.dataclass(frozen=True)
class LoadedGenerator:
    """A trained generator.

    Attributes:
        generator: network.
        variables: of the averaged generator (EMA).
        w_avg: [w_dim], mean of the intermediate latent codes, for truncation.
        config: of the run that trained it.
        kimg: thousands of real images shown.
    """

    generator: Generator
    variables: Variables
    w_avg: Array
    config: Config
    kimg: float


def load_run(workdir: Path) -> LoadedGenerator:
    """Loads the averaged generator of the newest checkpoint of a run folder that is sound.

    Args:
        workdir: run folder, holding `config.json` and `checkpoints/`.

    Raises:
        UserError: one sentence, if there is no run, no checkpoint, or none that is sound.
    """
    config_path = workdir / "config.json"
    if not config_path.is_file():
        raise UserError(f"{workdir} is no run folder: {config_path} does not exist")
    try:
        config = Config.from_dict(json.loads(config_path.read_text()))
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
    )
