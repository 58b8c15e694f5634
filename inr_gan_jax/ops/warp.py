"""Affine sampling of images: bilinear between pixels, zero outside."""

import jax.numpy as jnp
from jax import lax

from inr_gan_jax.array_types import Array, check_shape

# One window of 2 x 2 pixels a sample, all channels, from the image of the same batch entry.
_WINDOWS = lax.GatherDimensionNumbers(
    offset_dims=(2, 3, 4),
    collapsed_slice_dims=(),
    start_index_map=(1, 2),
    operand_batching_dims=(0,),
    start_indices_batching_dims=(0,),
)


def affine_sample(
    images: Array, transforms: Array, size: tuple[int, int], first: Array | None = None, last: Array | None = None
) -> Array:
    """Samples each image of a batch on its own grid, bilinearly.

    Positions count pixels from the centre of a picture, x to the right and y down: the pixel in column j of `width`
    lies at x = j - (width - 1) / 2. Linear in the images, and differentiable in them any number of times.

    Args:
        images: [batch, height, width, channels]; height and width at least 2.
        transforms: [batch, 2, 3]; transform @ (x, y, 1) of a position in the result is the position in the image.
        size: height and width of the result.
        first: [batch, 2], (column, row) of the first pixel that counts, those before it are zero; None: (0, 0).
        last: [batch, 2], (column, row) of the last pixel that counts, those after it are zero; None: of the image.

    Returns:
        [batch, *size, channels]; zero where a position lies a pixel or more outside of what counts.

    Raises:
        ValueError: if the shapes do not fit.
    """
    check_shape("images", images, (None, None, None, None))
    batch, height, width, channels = images.shape
    check_shape("transforms", transforms, (batch, 2, 3))
    if min(height, width) < 2:
        raise ValueError(f"images have {height} x {width} pixels, expected at least 2 x 2")
    x, y = _positions(transforms.astype(images.dtype), size)
    column, column_weights = _neighbours(x + (width - 1) / 2, width, first, last, 0)
    row, row_weights = _neighbours(y + (height - 1) / 2, height, first, last, 1)
    # One gather of 2x2 windows: the gradient of four gathers of single pixels is slower on CPUs.
    starts = jnp.stack([row, column], axis=-1)
    in_bounds = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    windows = lax.gather(images, starts, _WINDOWS, (1, 2, 2, channels), mode=in_bounds)
    weights = row_weights[:, :, :, None] * column_weights[:, :, None, :]
    return jnp.sum(windows * weights[..., None], axis=(2, 3)).reshape(batch, *size, channels)


def _positions(transforms: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Where the pixels of the result lie in the images: x and y, [batch, pixels] each, from the centre."""
    dtype = transforms.dtype
    rows = jnp.arange(size[0], dtype=dtype)[None, :, None] - (size[0] - 1) / 2
    columns = jnp.arange(size[1], dtype=dtype)[None, None, :] - (size[1] - 1) / 2
    # Written out, because a matrix product rounds to fewer bits on accelerators.
    entries = transforms[:, :, :, None, None]
    x, y = (entries[:, axis, 0] * columns + entries[:, axis, 1] * rows + entries[:, axis, 2] for axis in (0, 1))
    return x.reshape(len(x), -1), y.reshape(len(y), -1)


def _neighbours(index: Array, length: int, first: Array | None, last: Array | None, axis: int) -> tuple[Array, Array]:
    """The pixels on both sides of fractional indices [batch, pixels] along one axis.

    Returns:
        The lower pixel, int32 [batch, pixels], kept so that both are in the image, and the weights of the two,
        [batch, pixels, 2]: the triangle around each pixel, which is 0 for both where the index is far outside.
    """
    lower = jnp.clip(jnp.floor(index), 0, length - 2)
    pixels = jnp.stack([lower, lower + 1], axis=-1)
    weights = jnp.maximum(1 - jnp.abs(index[..., None] - pixels), 0)
    if first is not None:
        weights = jnp.where(pixels >= first[:, axis].astype(index.dtype)[:, None, None], weights, 0)
    if last is not None:
        weights = jnp.where(pixels <= last[:, axis].astype(index.dtype)[:, None, None], weights, 0)
    return lower.astype(jnp.int32), weights
