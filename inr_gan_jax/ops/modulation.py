"""Factorised multiplicative modulation: a shared weight times a low-rank factor predicted for one image."""

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, check_shape


def modulate_sigmoid(kernel: Array, left: Array, right: Array) -> Array:
    """Builds the weight of one image from the shared weight and its predicted factors.

    Every entry of the shared weight is scaled by 2 * sigmoid(left @ right), which lies in (0, 2) and is 1 where the
    product is 0.

    Args:
        kernel: [in_features, out_features], shared by all images.
        left: [out_features, rank], predicted.
        right: [rank, in_features], predicted.

    Returns:
        [in_features, out_features].

    Raises:
        ValueError: if the factors do not fit the kernel.

    Source: arXiv 2011.12026 §3.1. Differs: no 1 / sqrt(rank) and no normalisation of rows; those belong to `release`.
    """
    in_features, out_features = kernel.shape
    check_shape("left", left, (out_features, None))
    check_shape("right", right, (left.shape[1], in_features))
    return kernel * (2 * jax.nn.sigmoid(jnp.einsum("or,ri->io", left, right)))
