"""The bilinear resize of TensorFlow 1, which is part of the definition of FID."""

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array


def tf1_resize(images: Array, size: tuple[int, int]) -> Array:
    """Resizes images so that sample 0 lies on sample 0: no half-pixel centres, no antialiasing.

    Sample i of an axis is read at i * (old / new) of the input; the last samples repeat the edge. The scale is
    rounded to float32 as there, the position to the type of the images. `jax.image.resize` only supports half-pixel
    centres, which is off by up to 92 of 255.

    Args:
        images: [batch, height, width, channels], floats.
        size: (height, width) of the result.

    Returns:
        [batch, *size, channels], of the type of the images.

    Source: tf.image.resize_bilinear(align_corners=False) of TensorFlow 1.
    """
    # Along the rows first, as there.
    return _resize_axis(_resize_axis(images, 2, size[1]), 1, size[0])


def _resize_axis(images: Array, axis: int, size: int) -> Array:
    before = images.shape[axis]
    if before == size:
        return images
    places = np.arange(size, dtype=images.dtype) * np.asarray(np.float32(before / size), images.dtype)
    low = np.floor(places).astype(np.int32)
    high = np.minimum(low + 1, before - 1)
    shape = [1] * images.ndim
    shape[axis] = size
    weight = jnp.asarray((places - low).reshape(shape), images.dtype)
    first, second = jnp.take(images, low, axis=axis), jnp.take(images, high, axis=axis)
    return first + (second - first) * weight
