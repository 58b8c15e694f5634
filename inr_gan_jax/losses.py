"""Adversarial losses and gradient penalties. They take callables and know no model.

`discriminate(images) -> [batch]` scores a batch of images [batch, height, width, channels]; higher means more real.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array

Discriminate = Callable[[Array], Array]


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
