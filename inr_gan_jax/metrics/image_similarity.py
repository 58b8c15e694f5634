"""Similarity of two images: PSNR and SSIM."""

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, along_last, check_shape

# Pictures are compared in [0, 1].
_WINDOW, _WINDOW_DEVIATION = 11, 1.5
_LUMINANCE_CONSTANT, _CONTRAST_CONSTANT = 0.01**2, 0.03**2


def psnr(first: Array, second: Array) -> Array:
    """Computes the peak signal-to-noise ratio in decibels; infinite for equal pictures.

    Args:
        first: [batch, height, width, channels], in [0, 1].
        second: as `first`.

    Returns:
        [batch].
    """
    check_shape("second", second, first.shape)
    return -10 * jnp.log10(jnp.mean(jnp.square(first - second), axis=(1, 2, 3)))


def ssim(first: Array, second: Array) -> Array:
    """Computes the structural similarity, the mean over all windows inside the picture and over the channels.

    Windows are Gaussian, 11x11 with a deviation of 1.5 pixels. In pictures with a side below 11 they are as large as
    the greatest odd number that fits, of the same deviation, so values of such pictures compare among themselves only.

    Args:
        first: [batch, height, width, channels], in [0, 1].
        second: as `first`.

    Returns:
        [batch], at most 1.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE Transactions on Image Processing 13(4), 2004, eq. 13 to 17. Differs: colours are compared channel by channel.
    """
    check_shape("first", first, (None, None, None, None))
    check_shape("second", second, first.shape)
    mean_first, mean_second = _windowed(first), _windowed(second)
    variance_first = _windowed(jnp.square(first)) - jnp.square(mean_first)
    variance_second = _windowed(jnp.square(second)) - jnp.square(mean_second)
    covariance = _windowed(first * second) - mean_first * mean_second
    luminance = (2 * mean_first * mean_second + _LUMINANCE_CONSTANT) / (
        jnp.square(mean_first) + jnp.square(mean_second) + _LUMINANCE_CONSTANT
    )
    structure = (2 * covariance + _CONTRAST_CONSTANT) / (variance_first + variance_second + _CONTRAST_CONSTANT)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _windowed(images: Array) -> Array:
    """Weighted means of all windows: [batch, height, width, channels] to [batch, height', width', channels]."""
    smallest = min(images.shape[1:3])
    size = min(_WINDOW, smallest - (smallest + 1) % 2)
    offsets = np.arange(size) - size // 2
    weights = np.exp(-np.square(offsets) / (2 * _WINDOW_DEVIATION**2))
    window = jnp.asarray(weights / weights.sum(), images.dtype)
    for axis in (1, 2):
        places = np.arange(images.shape[axis] - size + 1)[:, None] + np.arange(size)
        stacked = jnp.moveaxis(jnp.take(images, places, axis=axis), axis + 1, -1)
        images = jnp.sum(stacked * along_last(window, stacked.ndim), axis=-1)
    return images
