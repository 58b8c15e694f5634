"""The ADA controller: adapts the augmentation probability to the discriminator's overfitting."""

import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array


class AugmentState(struct.PyTreeNode):
    """State of the controller; all leaves are float32 scalars.

    Attributes:
        p: overall probability, at least 0.
        sign_sum: sum of the signs of the discriminator's outputs on real images since p last changed.
        sign_count: number of those outputs.
    """

    p: Array
    sign_sum: Array
    sign_count: Array


def init_augment_state(initial_p: float = 0.0) -> AugmentState:
    """The state before the first step; also that of a fixed probability, which is never updated."""
    zero = jnp.zeros((), jnp.float32)
    return AugmentState(p=jnp.asarray(initial_p, jnp.float32), sign_sum=zero, sign_count=zero)


def with_mean_sign(state: AugmentState, mean_sign: Array, count: int) -> AugmentState:
    """Adds the signs of the discriminator's outputs on real images.

    Args:
        state: before.
        mean_sign: scalar in [-1, 1], mean of the signs of the outputs; NaN is ignored, since it would persist in p.
        count: number of images.

    Returns:
        The state with the signs added.
    """
    is_number = ~jnp.isnan(mean_sign)
    signs = jnp.where(is_number, mean_sign * count, 0).astype(state.sign_sum.dtype)
    return state.replace(
        sign_sum=state.sign_sum + signs,
        sign_count=state.sign_count + jnp.where(is_number, count, 0).astype(state.sign_count.dtype),
    )


def r_t(state: AugmentState) -> Array:
    """Mean sign of the discriminator's outputs on real images since the last update, in [-1, 1]; 0 without any.

    Near 1 the discriminator has memorised the training images.

    Source: arXiv 2006.06676 §3, equation 1.
    """
    return state.sign_sum / jnp.maximum(state.sign_count, 1)


def updated(state: AugmentState, *, target: float, images_per_update: int, kimg: float) -> AugmentState:
    """Moves p one step toward the target and resets the mean.

    Without any output since the last update, p is unchanged.

    Args:
        state: with the signs of the outputs since the last update.
        target: value of `r_t` to hold, 0.6 in the paper.
        images_per_update: real images shown between two updates (batch size times steps between updates).
        kimg: thousands of images in which p can rise by 1, 500 in the paper.

    Returns:
        The state after the update; p is at least 0 and has no upper bound, as in the official code.

    Source: arXiv 2006.06676 §3.
    """
    direction = jnp.where(state.sign_count > 0, jnp.sign(r_t(state) - target), 0)
    p = jnp.maximum(state.p + direction * (images_per_update / (kimg * 1000)), 0)
    return init_augment_state().replace(p=p)
