"""Shapes of the variables of a network, without making them."""

from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.release.network import ReleaseNetwork


def generator_shapes(network: PaperNetwork | ReleaseNetwork) -> dict[str, Any]:
    """Returns the collections of a generator with `jax.ShapeDtypeStruct` as leaves."""
    settings = network.settings
    c = _placeholder(settings.c_dim) if settings.c_dim else None
    return jax.eval_shape(network.init, jax.random.key(0), _placeholder(settings.z_dim), c)


def discriminator_shapes(network: Discriminator, channels: int) -> dict[str, Any]:
    """Returns the collections of a discriminator of pictures of `channels` channels, likewise."""
    c = _placeholder(1, network.c_dim) if network.c_dim else None
    return jax.eval_shape(network.init, jax.random.key(0), _placeholder(1, *network.resolution, channels), c)


def _placeholder(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.result_type(float))
