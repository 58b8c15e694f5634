"""Adversarial losses, gradient penalties and the perceptual term. They take callables and are independent of models.

`discriminate(images) -> [batch]` scores a batch of images [batch, height, width, channels]; higher means more real.
`synthesise(ws) -> images` renders a batch from intermediate latent codes [batch, num_ws, w_dim].
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array

Discriminate = Callable[[Array], Array]
Synthesise = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """The losses of both networks; each maps logits [batch] to a scalar, the mean over the batch.

    Attributes:
        generator: of the logits of generated images, and of real ones where `is_relativistic`.
        discriminator: of the logits of real and of generated images.
        is_relativistic: the generator's loss needs the logits of real images too.
    """

    generator: Callable[[Array, Array | None], Array]
    discriminator: Callable[[Array, Array], Array]
    is_relativistic: bool = False


def generator_loss(fake_logits: Array, real_logits: Array | None = None) -> Array:
    """Mean of softplus(-logits) over [batch] logits of generated images; those of real ones are ignored.

    Source: arXiv 1406.2661 §3, the non-saturating form.
    """
    del real_logits
    return jnp.mean(jax.nn.softplus(-fake_logits))


def discriminator_loss(real_logits: Array, fake_logits: Array) -> Array:
    """Mean logistic loss over [batch] logits of real and of generated images, the two added.

    Source: arXiv 1406.2661 §3.
    """
    return jnp.mean(jax.nn.softplus(fake_logits)) + jnp.mean(jax.nn.softplus(-real_logits))


def relativistic_generator_loss(fake_logits: Array, real_logits: Array | None) -> Array:
    """Mean of softplus(real - fake) over pairs of a real and a generated image, [batch] each.

    Raises:
        ValueError: without the logits of real images.

    Source: arXiv 2501.05441 §2 (RpGAN, arXiv 1807.00734).
    """
    if real_logits is None:
        raise ValueError("the relativistic loss got no logits of real images")
    return jnp.mean(jax.nn.softplus(real_logits - fake_logits))


def relativistic_discriminator_loss(real_logits: Array, fake_logits: Array) -> Array:
    """Mean of softplus(fake - real) over pairs of a real and a generated image, [batch] each.

    Source: arXiv 2501.05441 §2 (RpGAN, arXiv 1807.00734).
    """
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


def hinge_generator_loss(fake_logits: Array, real_logits: Array | None = None) -> Array:
    """Minus the mean of [batch] logits of generated images; those of real ones are ignored.

    Source: arXiv 1705.02894.
    """
    del real_logits
    return -jnp.mean(fake_logits)


def hinge_discriminator_loss(real_logits: Array, fake_logits: Array) -> Array:
    """Mean of relu(1 - real) + relu(1 + fake) over [batch] logits.

    Source: arXiv 1705.02894.
    """
    return jnp.mean(jax.nn.relu(1 - real_logits)) + jnp.mean(jax.nn.relu(1 + fake_logits))


ADVERSARIAL_LOSSES = {
    "logistic": AdversarialLoss(generator_loss, discriminator_loss),
    "relativistic": AdversarialLoss(relativistic_generator_loss, relativistic_discriminator_loss, is_relativistic=True),
    "hinge": AdversarialLoss(hinge_generator_loss, hinge_discriminator_loss),
}


def gradient_penalty(discriminate: Discriminate, images: Array) -> tuple[Array, Array]:
    """Mean over the batch of the squared norm of the discriminator's gradient at images: R1 at real, R2 at generated.

    Args:
        discriminate: scores a batch.
        images: [batch, height, width, channels].

    Returns:
        Scalar, to be multiplied by gamma / 2; and the logits [batch] of the images.

    Source: arXiv 1801.04406 §4.1.
    """

    def total(batch: Array) -> tuple[Array, Array]:
        logits = discriminate(batch)
        return jnp.sum(logits), logits

    gradients, logits = jax.grad(total, has_aux=True)(images)
    return jnp.sum(jnp.square(gradients)) / images.shape[0], logits


def path_lengths(synthesise: Synthesise, ws: Array, noise: Array) -> Array:
    """Measures how much the image changes with the intermediate latent code.

    Args:
        synthesise: renders a batch; each image must depend on its own codes only.
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
    # The root has no derivative at 0, where nothing moves; its gradient is defined as 0 there.
    moves = squares > 0
    return jnp.where(moves, jnp.sqrt(jnp.where(moves, squares, 1.0)), 0.0)


def path_length_penalty(
    lengths: Array, mean: Array, decay: float = 0.01, batch_mean: Array | None = None
) -> tuple[Array, Array]:
    """Penalises lengths that differ from their running mean.

    Args:
        lengths: [batch], see `path_lengths`.
        mean: scalar, running mean so far; it starts at 0.
        decay: weight of this batch in the new mean.
        batch_mean: scalar, mean of the lengths of the whole batch when `lengths` are a part of it; the mean of the
            penalties of the parts then has the gradient of the penalty of the whole.

    Returns:
        The mean over the batch of (length - new mean)^2, to be multiplied by pl_weight, and the new mean.

    Source: arXiv 1912.04958 §3.2. The gradient also flows through this batch's part of the mean, as in its code.
    """
    own_mean = jnp.mean(lengths)
    if batch_mean is None:
        new_mean = mean + decay * (own_mean - mean)
        return jnp.mean(jnp.square(lengths - new_mean)), jax.lax.stop_gradient(new_mean)
    new_mean = jax.lax.stop_gradient(mean + decay * (batch_mean - mean))
    # The value is 0; its gradient is that of the new mean, which all parts of the batch share.
    through_mean = 2 * decay * (batch_mean - new_mean) * (own_mean - jax.lax.stop_gradient(own_mean))
    return jnp.mean(jnp.square(lengths - new_mean)) - through_mean, new_mean
