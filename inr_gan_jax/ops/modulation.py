"""Modulation: a shared weight made the weight of one image, by low-rank factors or by a style an input channel."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, check_shape

FactorActivation = Literal["demod", "sigmoid", "tanh"]


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


def modulate_factors(kernel: Array, left: Array, right: Array, activation: FactorActivation) -> Array:
    """Builds the weight of one image as W * (1 + A), where A = left @ right / sqrt(rank).

    `demod` then scales the weights of each output to norm 1; `sigmoid` and `tanh` bound A by sigmoid(A) - 0.5 and by
    tanh(A) instead, and normalise nothing.

    Args:
        kernel: [in_features, out_features], shared by all images.
        left: [out_features, rank], predicted.
        right: [rank, in_features], predicted.
        activation: how the factors act.

    Returns:
        [in_features, out_features].

    Raises:
        ValueError: if the factors do not fit the kernel, or the activation is unknown.

    Source: arXiv 2011.12026 §3.1 in the form of the released networks.
    """
    in_features, out_features = kernel.shape
    check_shape("left", left, (out_features, None))
    check_shape("right", right, (left.shape[1], in_features))
    factor = jnp.einsum("or,ri->io", left, right) / math.sqrt(left.shape[1])
    if activation == "sigmoid":
        return kernel * (0.5 + jax.nn.sigmoid(factor))
    if activation == "tanh":
        return kernel * (1 + jnp.tanh(factor))
    if activation != "demod":
        raise ValueError(f"the modulation has the activation {activation!r}, expected 'demod', 'sigmoid' or 'tanh'")
    weight = kernel * (1 + factor)
    # Added to the norm itself, not under the root as in style modulation.
    return weight / (jnp.sqrt(jnp.sum(jnp.square(weight), axis=0, keepdims=True)) + 1e-8)


def demodulation(kernel: Array, styles: Array) -> Array:
    """Computes what scales each output of a style-modulated layer so that its weights have norm 1.

    Args:
        kernel: [..., in_features, out_features], shared by all images.
        styles: [in_features], predicted.

    Returns:
        [out_features].

    Source: arXiv 1912.04958 §2.2.
    """
    squares = jnp.sum(jnp.square(kernel).reshape(-1, *kernel.shape[-2:]), axis=0)
    return jax.lax.rsqrt(jnp.square(styles) @ squares + 1e-8)
