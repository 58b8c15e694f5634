"""Resampling of pictures and feature maps: nearest and bilinear upsampling, the FIR low-pass filter of StyleGAN2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array
from inr_gan_jax.ops.viewport import BlockGrid

# The separable [1, 3, 3, 1] binomial filter, normalised to sum 1 along each axis.
FIR_TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0


def gather_features(features: Array, grid: BlockGrid) -> Array:
    """Gathers the features of one block at the points of the next: nearest, or interpolated between cell corners.

    Args:
        features: [height, width, channels] on the grid of the previous block.
        grid: the points to gather them at.

    Returns:
        [*grid.size, channels]; bilinear interpolation when the grid has shares, else nearest.
    """
    if grid.repeats is not None:
        return repeat_cells(features, grid.repeats)
    assert grid.row_index is not None, "the first block gathers no features"
    assert grid.column_index is not None, "set with row_index"
    rows = _gather(features, grid.row_index, grid.row_share, 0)
    return _gather(rows, grid.column_index, grid.column_share, 1)


def _gather(features: Array, index: Array | np.ndarray, share: Array | np.ndarray | None, axis: int) -> Array:
    """Gathers entries along an axis, each interpolated with the next one if shares are given."""
    index = jnp.asarray(index)
    values = jnp.take(features, index, axis=axis)
    if share is None:
        return values
    shape = [1] * features.ndim
    shape[axis] = -1
    weight = jnp.asarray(share, features.dtype).reshape(shape)
    return values * (1 - weight) + jnp.take(features, index + 1, axis=axis) * weight


def repeat_cells(features: Array, repeats: tuple[int, int]) -> Array:
    """Repeats each row and column, which is nearest upsampling by whole factors.

    Args:
        features: [height, width, channels].
        repeats: number of times, (rows, columns).

    Returns:
        [height * repeats[0], width * repeats[1], channels].
    """
    if repeats == (1, 1):
        return features
    height, width, channels = features.shape
    # A broadcast, because its gradient is a sum over an axis, where that of a gather would be a scatter.
    spread = jnp.broadcast_to(features[:, None, :, None], (height, repeats[0], width, repeats[1], channels))
    return spread.reshape(height * repeats[0], width * repeats[1], channels)


def fir_filter(images: Array, padding: tuple[int, int], stride: int = 1) -> Array:
    """Low-passes images with the separable [1, 3, 3, 1] filter.

    The gradient is written out as a filter of the same kind: JAX's own is a sum of padded images, three times slower on
    CPUs and three times larger. Reverse mode only.

    Args:
        images: [..., height, width, channels].
        padding: zeros added (before, after) both axes, at most 3.
        stride: keep every `stride`-th sample.

    Returns:
        [..., (height + sum(padding) - 4) // stride + 1, likewise width, channels].

    Source: arXiv 1912.04958 and its reference filter K = outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.
    """
    if stride == 1:
        return _smooth(padding, images)
    halves = stride == 2 and padding == (1, 1) and images.shape[-3] % 2 == 0 and images.shape[-2] % 2 == 0
    return _halve(images) if halves else _sum_of_taps(images, padding, stride)


def _sum_of_taps(images: Array, padding: tuple[int, int], stride: int) -> Array:
    """Written as four shifted sums along each axis.

    A depthwise convolution is an order of magnitude slower on CPUs, and keeping only every `stride`-th sample of the
    first axis halves the work of the second.
    """
    leading = ((0, 0),) * (images.ndim - 3)
    images = jnp.pad(images, (*leading, padding, padding, (0, 0)))
    for axis in (images.ndim - 3, images.ndim - 2):
        size = images.shape[axis]
        last_start = size - len(FIR_TAPS)
        shifted = [
            lax.slice_in_dim(images, tap, last_start + tap + 1, stride, axis) * np.asarray(weight, images.dtype)
            for tap, weight in enumerate(FIR_TAPS)
        ]
        images = sum(shifted[1:], start=shifted[0])
    return images


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _smooth(padding: tuple[int, int], images: Array) -> Array:
    return _sum_of_taps(images, padding, 1)


def _smooth_backward(padding: tuple[int, int], _: None, gradient: Array) -> tuple[Array]:
    before, after = padding
    return (_smooth((3 - before, 3 - after), gradient),)


_smooth.defvjp(lambda padding, images: (_smooth(padding, images), None), _smooth_backward)


@jax.custom_vjp
def _halve(images: Array) -> Array:
    return _sum_of_taps(images, (1, 1), 2)


@jax.custom_vjp
def _double(images: Array) -> Array:
    return fir_upsample(images)


# Each is the transpose of the other, but for the factor of the inserted zeros.
_halve.defvjp(lambda images: (_halve(images), None), lambda _, gradient: (_double(gradient) / 4,))
_double.defvjp(lambda images: (_double(images), None), lambda _, gradient: (_halve(gradient) * 4,))


def fir_upsample(images: Array) -> Array:
    """Doubles height and width by zero insertion and the [1, 3, 3, 1] filter; zeros lie beyond the border.

    Args:
        images: [..., height, width, channels].

    Returns:
        [..., 2 * height, 2 * width, channels].

    Source: arXiv 1912.04958 and its reference filter, times 4 for the inserted zeros.
    """
    for axis in (-3, -2):
        outer = np.full(images.shape[axis], 0.25)
        images = _interleave(images, axis, outer, outer)
    return images


def bilinear_upsample(images: Array) -> Array:
    """Doubles height and width by linear interpolation; the first and last samples stay at the ends.

    Sample i of the result lies at i * (size - 1) / (2 * size - 1) of the input, the convention `align_corners`.

    Args:
        images: [..., height, width, channels].

    Returns:
        [..., 2 * height, 2 * width, channels].
    """
    for axis in (-3, -2):
        size = images.shape[axis]
        index = np.arange(size)
        images = _interleave(images, axis, index / (2 * size - 1), index[::-1] / (2 * size - 1))
    return images


def _interleave(x: Array, axis: int, from_before: np.ndarray, from_after: np.ndarray) -> Array:
    """Puts two samples where one was: mixed with the sample before by one weight, with the one after by another.

    Slices instead of a gather, because the gradient of a gather is a scatter.
    """
    axis %= x.ndim
    size = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = size
    zero = jnp.zeros_like(lax.slice_in_dim(x, 0, 1, axis=axis))
    before = jnp.concatenate([zero, lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), zero], axis)
    left = jnp.asarray(from_before, x.dtype).reshape(shape)
    right = jnp.asarray(from_after, x.dtype).reshape(shape)
    pairs = jnp.stack([x * (1 - left) + before * left, x * (1 - right) + after * right], axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


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
