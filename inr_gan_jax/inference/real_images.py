"""Real images of a prepared set, for tools that compare with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.errors import UserError

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()

# A set is held as a whole, in float32.
_MAX_NUMBERS = 2**31


def define_data_flags() -> None:
    """Defines --data_name and --data_dir."""
    flags.DEFINE_string("data_name", None, "Real images; the set of the run by default.")
    flags.DEFINE_string("data_dir", None, "Where prepared sets lie; as in the run by default.")


def real_images(loaded: LoadedGenerator, size: tuple[int, int], name: str | None = None) -> np.ndarray:
    """Reads a whole set at some size.

    Args:
        loaded: a generator whose run says what the data are.
        size: (height, width).
        name: of another set; None for the one that --data_name says, or that of the run.

    Returns:
        [count, height, width, channels], float32, in [-1, 1].

    Raises:
        UserError: if there is no such set, or it does not fit in memory, or the checkpoint does not say which it is.
    """
    from inr_gan_jax.data.read.dataset import open_dataset
    from inr_gan_jax.data.read.images import all_images

    if loaded.config is None:
        raise UserError(f"{loaded.source} does not say what it was trained on; use the run folder or official pickle")
    section = loaded.config.data
    keys = {"height": size[0], "width": size[1], "num_classes": 0}
    keys |= {
        "name": name or flags.FLAGS.data_name or section.name,
        "data_dir": flags.FLAGS.data_dir or section.data_dir,
    }
    config = dataclasses.replace(section, **keys)
    dataset = open_dataset(config)
    if len(dataset) * size[0] * size[1] * section.channels > _MAX_NUMBERS:
        raise UserError(f"{config.name} at {size[0]}x{size[1]} does not fit in memory; name a smaller set")
    return all_images(dataset, config)
