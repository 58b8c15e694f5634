"""From an official network pickle straight to a generator that draws."""

import os

import jax.numpy as jnp

from inr_gan_jax.importers.imported_run import imported_config
from inr_gan_jax.importers.safe_pickle import read_official_checkpoint
from inr_gan_jax.importers.torch_inr_gan import import_discriminator, import_generator
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import build_generator


def load_official(path: str | os.PathLike[str]) -> LoadedGenerator:
    """Loads the averaged generator of an official checkpoint, without PyTorch and without executing anything of it.

    The configuration is that of an imported run; how long the network was trained is not in the file, `kimg` is 0.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile or of another network.
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
    )
