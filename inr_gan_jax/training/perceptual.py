"""The network of the perceptual term, where a run has one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from inr_gan_jax.array_types import Array
from inr_gan_jax.config.schema import LossConfig
from inr_gan_jax.metrics.networks.vgg16 import load_vgg16, perceptual_distance

PerceptualDistance = Callable[[Any, Array, Array], Array]


def load_perceptual(config: LossConfig) -> tuple[Any, PerceptualDistance | None]:
    """Loads VGG16 from the user's file.

    Returns:
        Weights, and the distance [batch] between generated and real images [batch, height, width, channels] given
        them; None twice for a run without the term.

    Raises:
        UserError: one sentence, if the file is missing or holds other weights.
    """
    if not config.perceptual_weight:
        return None, None
    return load_vgg16(Path(config.vgg16_file).expanduser()), vgg16_distance


def vgg16_distance(weights: Any, generated: Array, real: Array) -> Array:
    """Distance [batch] between the features of images [batch, height, width, 1 or 3] in [-1, 1]."""
    return perceptual_distance(weights, _coloured(generated), _coloured(real))


def _coloured(images: Array) -> Array:
    """Grey images as three equal channels."""
    return jnp.broadcast_to(images, (*images.shape[:-1], 3))
