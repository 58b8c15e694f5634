"""Modulation: a shared weight made the weight of one image, by low-rank factors or by a style an input channel."""

import math

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, check_shape
from inr_gan_jax.ops.rules import FactorActivation


def modulate_product(
    kernel: Array, left: Array, right: Array, activation: FactorActivation = "sigmoid", norm: float = 1.0
) -> Array:
    """Builds the weight of one image from the shared weight and its predicted factors, with A = left @ right.

    `sigmoid`: every entry is scaled by 2 * sigmoid(A), which lies in (0, 2) and is 1 where A is 0. `tanh`: by
    1 + tanh(A), which is the same at twice the product. `demod`: by 1 + A, without bounds; then the weights of each
    output are scaled to the norm `norm`.

    Args:
        kernel: [in_features, out_features], shared by all images.
        left: [out_features, rank], predicted.
        right: [rank, in_features], predicted.
        activation: how the factors act.
        norm: of the weights of an output, for `demod`.

    Returns:
        [in_features, out_features].

    Raises:
        ValueError: if the factors do not fit the kernel, or the activation is unknown.

    Source: arXiv 2011.12026 §3.1. Differs: no 1 / sqrt(rank); that, and normalised rows by default, belong to
    `release`.
    """
    product = _product(kernel, left, right)
    if activation == "sigmoid":
        return kernel * (2 * jax.nn.sigmoid(product))
    if activation == "tanh":
        return kernel * (1 + jnp.tanh(product))
    if activation == "demod":
        return norm * _normalised(kernel * (1 + product))
    raise _unknown(activation)


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
    factor = _product(kernel, left, right) / math.sqrt(left.shape[1])
    if activation == "sigmoid":
        return kernel * (0.5 + jax.nn.sigmoid(factor))
    if activation == "tanh":
        return kernel * (1 + jnp.tanh(factor))
    if activation == "demod":
        return _normalised(kernel * (1 + factor))
    raise _unknown(activation)


def _product(kernel: Array, left: Array, right: Array) -> Array:
    """[in_features, out_features], the product of the factors laid out as the kernel."""
    in_features, out_features = kernel.shape
    check_shape("left", left, (out_features, None))
    check_shape("right", right, (left.shape[1], in_features))
    return jnp.einsum("or,ri->io", left, right)


def _normalised(weight: Array) -> Array:
    """The weights of each output at norm 1."""
    # Added to the norm itself, not under the root as in style modulation.
    return weight / (jnp.sqrt(jnp.sum(jnp.square(weight), axis=0, keepdims=True)) + 1e-8)


def _unknown(activation: str) -> ValueError:
    return ValueError(f"the modulation has the activation {activation!r}, expected 'demod', 'sigmoid' or 'tanh'")


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
