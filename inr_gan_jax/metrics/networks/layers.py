"""Layers of trained feature networks, as functions on channels-last batches.

Products run in the highest precision by default: accelerators would otherwise round their factors to bfloat16 or TF32,
which moves Inception's features by 2 %.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from inr_gan_jax.array_types import Array, along_last

Padding = str | Sequence[tuple[int, int]]


def conv2d(
    images: Array,
    kernel: Any,
    stride: int = 1,
    padding: Padding = "VALID",
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Array:
    """Cross-correlates images with a kernel, in the precision of the images.

    Args:
        images: [batch, height, width, in].
        kernel: [kernel_height, kernel_width, in, out].
        stride: of both axes.
        padding: `VALID`, or (before, after) for each axis.
        precision: of the products.

    Returns:
        [batch, height', width', out].
    """
    return lax.conv_general_dilated(
        images,
        jnp.asarray(kernel, images.dtype),
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def convolve_relu(images: Array, layer: Any, stride: int = 1, padding: int = 0, **options: Any) -> Array:
    """A convolution with bias, and ReLU.

    Args:
        images: [batch, height, width, in].
        layer: {"kernel": [kernel_height, kernel_width, in, out], "bias": [out]}.
        stride: of both axes.
        padding: zeros around the image.
        options: `precision` of `conv2d`.
    """
    result = conv2d(images, layer["kernel"], stride, ((padding, padding),) * 2, **options)
    return jnp.maximum(result + along_last(jnp.asarray(layer["bias"], images.dtype), 4), 0)


def max_pool(images: Array, size: int, stride: int, padding: Padding = "VALID") -> Array:
    """Largest value of each square window: [batch, height, width, channels] to [batch, height', width', channels]."""
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(images, -jnp.inf, lax.max, window, strides, padding)
