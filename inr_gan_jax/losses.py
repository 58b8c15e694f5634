"""Adversarial losses and gradient penalties. They take callables and know no model.

`discriminate(images) -> [batch]` scores a batch of images [batch, height, width, channels]; higher means more real.
`synthesise(ws) -> images` draws a batch from intermediate latent codes [batch, num_ws, w_dim].
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array

Discriminate = Callable[[Array], Array]
Synthesise = Callable[[Array], Array]


def generator_loss(fake_logits: Array) -> Array:
    """Mean of softplus(-logits) over [batch] logits of generated images.

    Source: arXiv 1406.2661 §3, the non-saturating form.
    """
    return jnp.mean(jax.nn.softplus(-fake_logits))


def discriminator_loss(real_logits: Array, fake_logits: Array) -> Array:
    """Mean logistic loss over [batch] logits of real and of generated images, the two added.

    Source: arXiv 1406.2661 §3.
    """
    return jnp.mean(jax.nn.softplus(fake_logits)) + jnp.mean(jax.nn.softplus(-real_logits))


def r1_penalty(discriminate: Discriminate, images: Array) -> Array:
    """Mean over the batch of the squared norm of the discriminator's gradient at real images.

    Args:
        discriminate: scores a batch.
        images: [batch, height, width, channels].

    Returns:
        Scalar; multiply by gamma / 2.

    Source: arXiv 1801.04406 §4.1 (R1).
    """
    gradients = jax.grad(lambda batch: jnp.sum(discriminate(batch)))(images)
    return jnp.sum(jnp.square(gradients)) / images.shape[0]


def path_lengths(synthesise: Synthesise, ws: Array, noise: Array) -> Array:
    """Measures how far the picture moves when the intermediate latent code does.

    Args:
        synthesise: draws a batch; each picture may depend on its own codes only.
        ws: [batch, num_ws, w_dim].
        noise: [batch, height, width, channels], standard normal: the direction in picture space.

    Returns:
        [batch], root of the mean over the num_ws codes of the squared norm of the gradient of
        sum(image * noise) / sqrt(height * width).

    Source: arXiv 1912.04958 §3.2.
    """
    direction = noise / math.sqrt(noise.shape[1] * noise.shape[2])
    gradients = jax.grad(lambda codes: jnp.sum(synthesise(codes) * direction))(ws)
    squares = jnp.mean(jnp.sum(jnp.square(gradients), axis=2), axis=1)
    # The root has no derivative at 0, where nothing moves; its gradient is taken as 0 there.
    moves = squares > 0
    return jnp.where(moves, jnp.sqrt(jnp.where(moves, squares, 1.0)), 0.0)


def path_length_penalty(lengths: Array, mean: Array, decay: float = 0.01) -> tuple[Array, Array]:
    """Penalises lengths that differ from their running mean.

    Args:
        lengths: [batch], see `path_lengths`.
        mean: scalar, running mean so far; it starts at 0.
        decay: share of this batch in the new mean.

    Returns:
        The mean over the batch of (length - new mean)^2, to be multiplied by pl_weight, and the new mean, to be kept.

    Source: arXiv 1912.04958 §3.2. The gradient flows through the share of this batch in the mean, as in its code.
    """
    new_mean = mean + decay * (jnp.mean(lengths) - mean)
    return jnp.mean(jnp.square(lengths - new_mean)), jax.lax.stop_gradient(new_mean)
