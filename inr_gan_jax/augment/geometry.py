"""Geometric transforms of images: 3 x 3 matrices, applied with wavelet resampling.

Positions count pixels from the centre of a picture, x to the right and y down, in homogeneous coordinates (x, y, 1).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array, check_shape

# The orthogonal low-pass filter `sym6`: least asymmetric, six vanishing moments (I. Daubechies, Ten Lectures on
# Wavelets, 1992, table 6.3), normalised to sum 1.
_SYM6 = np.array(
    [
        [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633],
        [0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252],
        [-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148],
    ]
).ravel()
LOW_PASS = _SYM6 / _SYM6.sum()
# Pixels that the low-pass filter, at half a pixel per tap, reaches to one side.
_REACH = len(LOW_PASS) // 4


def translation(x: Array, y: Array) -> Array:
    """Matrices [batch, 3, 3] that add (x, y), each [batch]."""
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    return _matrix([[one, zero, x], [zero, one, y], [zero, zero, one]])


def scaling(x: Array, y: Array) -> Array:
    """Matrices [batch, 3, 3] that multiply by (x, y), each [batch]."""
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    return _matrix([[x, zero, zero], [zero, y, zero], [zero, zero, one]])


def rotation(angle: Array) -> Array:
    """Matrices [batch, 3, 3] that turn the x axis towards the y axis by angles [batch] in radians."""
    one, zero = jnp.ones_like(angle), jnp.zeros_like(angle)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])


def _matrix(rows: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def compose(left: Array, right: Array) -> Array:
    """Products of matrices [batch, 3, 3]; written out, because `@` rounds to fewer bits on accelerators."""
    return jnp.sum(left[:, :, :, None] * right[:, None, :, :], axis=2)


def warp(images: Array, inverse: Array, shared_margin: bool = False) -> Array:
    """Applies affine transforms to images without aliasing; images are mirrored beyond their borders.

    The image is extended by reflection, doubled in size by the filter `sym6`, sampled bilinearly at double density and
    halved by the transposed filter. The identity transform returns the image, because the filter is orthogonal.

    The official code extends a batch by as many pixels as its transforms need, at most by size - 1, with zeros farther
    out. Shapes are static here, so every image is extended by size - 1 on all sides, and everything beyond the margin
    that its transform needs is set to zero, before the doubling and again when sampling. Filter and sampling then see
    the same values as in the official code.

    Args:
        images: [batch, height, width, channels].
        inverse: [batch, 3, 3], maps a position in the result to one in the image.
        shared_margin: extend all images by the largest margin of the batch, as the official code does; they influence
            each other then, near borders that a transform brings in. False matches the official code on each
            image alone.

    Returns:
        [batch, height, width, channels].

    Source: arXiv 2006.06676, appendix B.2.
    """
    _, height, width, _ = images.shape
    before, after = _margins(inverse, height, width)
    if shared_margin:
        before, after = (jnp.broadcast_to(side.max(axis=0)[None, :], side.shape) for side in (before, after))
    most = jnp.asarray([width - 1, height - 1], images.dtype)[None, :]
    first, last = most - before, 2 * most + after
    doubled = _double(_extend(images, first, last))
    size = (2 * (height + 2 * _REACH), 2 * (width + 2 * _REACH))
    sampled = affine_sample(doubled, _at_double_density(inverse), size, 2 * first, 2 * last + 1)
    # The transpose of doubling adds up four pixels of the doubled picture for each one.
    return _halve(sampled)[:, _REACH:-_REACH, _REACH:-_REACH] / 4


def _margins(inverse: Array, height: int, width: int) -> tuple[Array, Array]:
    """Whole pixels that each image needs before and after its own, [batch, 2] each, as (x, y).

    They may be more than the size less one; the array ends there.
    """
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    corners = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) * centre[:, None]
    entries = inverse[:, :2, :, None]
    x, y = (jnp.asarray(corners[axis], inverse.dtype)[None, None, :] for axis in (0, 1))
    reached = entries[:, :, 0] * x + entries[:, :, 1] * y + entries[:, :, 2]
    spare = jnp.asarray(2 * _REACH - centre, inverse.dtype)[None, :]
    before, after = (jnp.ceil(jnp.maximum(side.max(axis=2) + spare, 0)) for side in (-reached, reached))
    return before, after


def _extend(images: Array, first: Array, last: Array) -> Array:
    """Reflects by the size less one on all sides and keeps the columns and rows from `first` to `last`."""
    _, height, width, _ = images.shape
    grown = jnp.pad(images, ((0, 0), (height - 1, height - 1), (width - 1, width - 1), (0, 0)), mode="reflect")
    for axis, place in ((0, 2), (1, 1)):
        index = jnp.arange(grown.shape[place], dtype=images.dtype)[None, :]
        inside = (index >= first[:, axis, None]) & (index <= last[:, axis, None])
        shape = [len(images), 1, 1, 1]
        shape[place] = -1
        grown = grown * inside.astype(images.dtype).reshape(shape)
    return grown


@jax.custom_vjp
def _double(images: Array) -> Array:
    """Doubles rows and columns: zeros between the samples and beyond them, then the low-pass filter, gain 2 per axis.

    `_double` and `_halve` are each other's transpose, which is their derivative: JAX's own, a sum of shifted arrays, is
    ten times slower on CPUs.
    """
    reach = len(LOW_PASS) // 4
    for axis in (1, 2):
        size = images.shape[axis]
        padded = _pad(images, axis, (reach, reach))
        phases = []
        for phase in (0, 1):
            taps = 2 * LOW_PASS[::-1][phase::2]
            phases.append(_sum_slices(padded, axis, taps, range(phase, phase + len(taps)), size))
        shape = [*images.shape[:axis], 2 * size, *images.shape[axis + 1 :]]
        images = jnp.stack(phases, axis + 1).reshape(shape)
    return images


@jax.custom_vjp
def _halve(images: Array) -> Array:
    """Halves rows and columns: the transpose of `_double`."""
    reach = len(LOW_PASS) // 2
    for axis in (2, 1):
        size = images.shape[axis] // 2
        padded = _pad(images, axis, (reach - 1, reach))
        images = _sum_slices(padded, axis, 2 * LOW_PASS, range(len(LOW_PASS)), size, stride=2)
    return images


_double.defvjp(lambda images: (_double(images), None), lambda _, cotangent: (_halve(cotangent),))
_halve.defvjp(lambda images: (_halve(images), None), lambda _, cotangent: (_double(cotangent),))


def _pad(images: Array, axis: int, widths: tuple[int, int]) -> Array:
    return jnp.pad(images, [widths if place == axis else (0, 0) for place in range(images.ndim)])


def _sum_slices(images: Array, axis: int, weights: np.ndarray, starts: range, size: int, *, stride: int = 1) -> Array:
    """Weighted sum of slices of `size` samples along an axis; a depthwise convolution is far slower on CPUs."""
    parts = [
        lax.slice_in_dim(images, start, start + (size - 1) * stride + 1, stride, axis)
        * jnp.asarray(weight, images.dtype)
        for start, weight in zip(starts, weights, strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def _at_double_density(inverse: Array) -> Array:
    """[batch, 2, 3]: the same transform between grids of double density, whose pixels lie half a step off."""
    linear, offset = inverse[:, :2, :2], inverse[:, :2, 2]
    shift = 0.5 * linear.sum(axis=2) - 0.5
    return jnp.concatenate([linear, (2 * offset + shift)[:, :, None]], axis=2)


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
