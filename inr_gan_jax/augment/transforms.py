"""Colour changes, image-space filtering, noise and cutout of image batches, with parameters per image.

Geometric transforms are in `geometry.py`.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from inr_gan_jax.array_types import Array

# Half-band filters H(z) H(1/z) / 2 and H(-z) H(-1/z) / 2 of the wavelet `sym2`.
_LOW_HALF_BAND = np.array([-1.0, 0.0, 9.0, 16.0, 9.0, 0.0, -1.0]) / 32
_HIGH_HALF_BAND = np.array([1.0, 0.0, -9.0, 16.0, -9.0, 0.0, 1.0]) / 32

# Power of natural images (1 / f) in the bands of the filter, as fractions of the total.
_BAND_POWER = np.array([10.0, 1.0, 1.0, 1.0]) / 13
NUM_BANDS = len(_BAND_POWER)


class ColourChange(struct.PyTreeNode):
    """Colour change of each image, in the order of application; all leaves are [batch].

    Attributes:
        brightness: added to all channels.
        contrast: factor of all channels.
        luma_flip: 1 negates the luma, 0 keeps it.
        hue: angle in radians around the grey axis.
        saturation: factor of the distance from the grey axis.
    """

    brightness: Array
    contrast: Array
    luma_flip: Array
    hue: Array
    saturation: Array


def recolour(images: Array, change: ColourChange) -> Array:
    """Applies the five colour changes at once.

    Each of them maps the grey axis to itself and the plane across it to itself, so they act on the luma by one factor
    and on the rest by another factor and a rotation (Rodrigues' formula). With one channel there is luma only.

    Args:
        images: [batch, height, width, channels], 1 or 3 channels.
        change: parameters.

    Returns:
        [batch, height, width, channels].

    Raises:
        ValueError: for another number of channels.

    Source: arXiv 2006.06676, appendix B.2.
    """
    luma_factor = _per_image(change.contrast * (1 - 2 * change.luma_flip))
    brightness = _per_image(change.brightness)
    match images.shape[-1]:
        case 1:
            return luma_factor * (images + brightness)
        case 3:
            luma = images.mean(axis=-1, keepdims=True)
            chroma = images - luma
            # Cross product of the unit vector along (1, 1, 1) with the colour.
            turned = (jnp.roll(chroma, 1, axis=-1) - jnp.roll(chroma, -1, axis=-1)) / math.sqrt(3)
            chroma = _per_image(jnp.cos(change.hue)) * chroma + _per_image(jnp.sin(change.hue)) * turned
            return luma_factor * (luma + brightness) + _per_image(change.contrast * change.saturation) * chroma
        case channels:
            raise ValueError(f"images have {channels} channels, expected 1 or 3 for changes of colour")


def amplify_bands(images: Array, factors: Array) -> Array:
    """Amplifies four frequency bands, then scales so that a natural image (1 / f) would keep its power.

    Images are mirrored beyond their borders. The filter of each image becomes a matrix along each axis, mirroring
    included: two products compile in a fraction of the time of 43 shifted sums, and a convolution whose groups are the
    images could not be split over devices.

    Args:
        images: [batch, height, width, channels].
        factors: [batch, NUM_BANDS], from the lowest band [0, pi/8] to the highest [pi/2, pi]; positive.

    Returns:
        [batch, height, width, channels].

    Source: arXiv 2006.06676, appendix B.2. Differs: images smaller than the filter are mirrored more than once, where
    the official code fails.
    """
    power = jnp.asarray(_BAND_POWER, factors.dtype)[None, :]
    # One normalisation for each band that changed, as the bands are sampled one after the other.
    scales = jnp.sqrt(1 + power * (jnp.square(factors) - 1))
    gains = factors / jnp.prod(scales, axis=1, keepdims=True)
    for size, product in zip(images.shape[1:3], ("nij,njwc->niwc", "nij,nhjc->nhic"), strict=True):
        bands = jnp.asarray(_band_matrices(size), gains.dtype)
        matrices = jnp.einsum("nk,kij->nij", gains, bands, precision=lax.Precision.HIGHEST)
        images = jnp.einsum(product, matrices, images, precision=lax.Precision.HIGHEST)
    return images


@functools.cache
def _band_matrices(size: int) -> np.ndarray:
    """[NUM_BANDS, size, size]: each band-pass filter as a matrix over `size` samples and their mirror images."""
    filters = filter_bank()
    taps = np.arange(filters.shape[1])
    places = np.arange(size)[:, None] + taps[None, :] - filters.shape[1] // 2
    period = max(2 * (size - 1), 1)
    mirrored = np.minimum(places % period, -places % period)
    matrices = np.zeros((len(filters), size, size))
    for band, weights in enumerate(filters):
        np.add.at(matrices[band], (np.arange(size)[:, None], mirrored), weights[None, :])
    return matrices


def filter_bank() -> np.ndarray:
    """[NUM_BANDS, taps]: symmetric band-pass filters that sum to the unit impulse, from the lowest band up.

    Source: arXiv 2006.06676, appendix B.2: three levels of the wavelet `sym2`.
    """
    bank = np.eye(NUM_BANDS, 1)
    for level in range(1, NUM_BANDS):
        stretched = np.zeros((NUM_BANDS, 2 * bank.shape[1] - 1))
        stretched[:, ::2] = bank
        bank = np.stack([np.convolve(row, _LOW_HALF_BAND) for row in stretched])
        start = (bank.shape[1] - len(_HIGH_HALF_BAND)) // 2
        bank[level, start : start + len(_HIGH_HALF_BAND)] += _HIGH_HALF_BAND
    return bank


def add_noise(images: Array, stddev: Array, pixels: Array) -> Array:
    """Adds white noise.

    Args:
        images: [batch, height, width, channels].
        stddev: [batch].
        pixels: like images, standard normal.

    Returns:
        [batch, height, width, channels].
    """
    return images + pixels * _per_image(stddev)


def cut_out(images: Array, centre: Array, side: Array) -> Array:
    """Sets a rectangle to zero, which is mid-grey.

    Args:
        images: [batch, height, width, channels].
        centre: [batch, 2], (x, y) in [0, 1), as fractions of width and height.
        side: [batch], of the rectangle, as a fraction of width and of height; 0 for none.

    Returns:
        [batch, height, width, channels].
    """
    _, height, width, _ = images.shape
    x = (jnp.arange(width, dtype=images.dtype)[None, :] + 0.5) / width
    y = (jnp.arange(height, dtype=images.dtype)[None, :] + 0.5) / height
    outside_x = jnp.abs(x - centre[:, :1]) >= side[:, None] / 2
    outside_y = jnp.abs(y - centre[:, 1:]) >= side[:, None] / 2
    kept = outside_x[:, None, :, None] | outside_y[:, :, None, None]
    return jnp.where(kept, images, 0)


def _per_image(values: Array) -> Array:
    return values[:, None, None, None]
