"""Fourier features of coordinates: bases and their embedding."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, check_shape

# Below this number of points a loop does not pay off.
_MANY_POINTS = 2048
# y, x and the two diagonals, the latter at half the length of the sum of both axes.
_DIRECTIONS = np.array([(0.0, 1.0), (1.0, 0.0), (-0.5, 0.5), (0.5, 0.5)])


def fourier_features(basis: Array, x: Array, y: Array) -> Array:
    """Embeds the grid spanned by column and row positions as sines and cosines.

    Args:
        basis: [num_features, 2], angular frequencies (x, y) in radians per unit length.
        x: [width], column positions.
        y: [height], row positions.

    Returns:
        [height, width, 2 * num_features], in [-1, 1]: all sines, then all cosines.

    Raises:
        ValueError: if `basis` does not have two columns.

    Source: arXiv 2011.12026 §3.2; no factor 2 pi and no phase offset.
    """
    # Sizes may be symbols, of a program that is exported for all of them.
    has_sizes = isinstance(x.shape[0], int) and isinstance(y.shape[0], int)
    if not has_sizes or x.size * y.size < _MANY_POINTS:
        return _waves_of_points(basis, x, y)
    return jax.lax.platform_dependent(basis, x, y, cpu=_waves_of_axes, default=_waves_of_points)


def _waves_of_points(basis: Array, x: Array, y: Array) -> Array:
    phases = grid_phases(basis, x, y)
    return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1)


def _waves_of_axes(basis: Array, x: Array, y: Array) -> Array:
    """The same by the angle-sum identities: sines and cosines per column and per row, not per point."""
    longer = max(x.size, y.size)
    positions = jnp.stack([jnp.pad(x, (0, longer - x.size)), jnp.pad(y, (0, longer - y.size))])

    def waves(_: None, axis: tuple[Array, Array]) -> tuple[None, tuple[Array, Array]]:
        phases = axis[0][:, None] * axis[1][None, :]
        return None, (jnp.sin(phases), jnp.cos(phases))

    # A loop: otherwise XLA recomputes the waves of an axis for every point.
    _, (sines, cosines) = jax.lax.scan(waves, None, (positions, basis.T))
    sin_x, cos_x = sines[0][None, : x.size], cosines[0][None, : x.size]
    sin_y, cos_y = sines[1][: y.size, None], cosines[1][: y.size, None]
    return jnp.concatenate([sin_y * cos_x + cos_y * sin_x, cos_y * cos_x - sin_y * sin_x], axis=-1)


def centred_coordinates(x: Array, y: Array) -> Array:
    """Coordinates of a grid, with the trained picture centred on 0.

    Args:
        x: [width], column positions, [0, 1) on the trained picture.
        y: [height], row positions, likewise.

    Returns:
        [height, width, 2], (x, y), [-1, 1) on the trained picture.
    """
    return jnp.stack(jnp.broadcast_arrays(2 * x[None, :] - 1, 2 * y[:, None] - 1), axis=-1)


def grid_phases(basis: Array, x: Array, y: Array) -> Array:
    """Multiplies the positions of a grid with angular frequencies.

    Args:
        basis: [num_features, 2], angular frequencies (x, y) in radians per unit length.
        x: [width], column positions.
        y: [height], row positions.

    Returns:
        [height, width, num_features], radians.

    Raises:
        ValueError: if `basis` does not have two columns.
    """
    check_shape("basis", basis, (None, 2))
    return x[None, :, None] * basis[None, None, :, 0] + y[:, None, None] * basis[None, None, :, 1]


def box_average(basis: Array, footprint: Array) -> Array:
    """Factor by which averaging over a box around each position attenuates waves.

    Args:
        basis: [num_features, 2], angular frequencies (x, y) in radians per unit length.
        footprint: [2], width and height of the box.

    Returns:
        [num_features], in (0, 1]: exp(-v / 2), v the variance of a wave's phase over the box. A box would leave
        sinc(phase / 2), which agrees to second order and has side lobes of either sign.
    """
    check_shape("basis", basis, (None, 2))
    return jnp.exp(-jnp.sum(jnp.square(basis * footprint[None]), axis=1) / 24)


def fixed_basis(resolution: int, max_num_features: int, use_diagonals: bool = True) -> np.ndarray:
    """Builds the fixed logarithmic basis of the `paper` model.

    The directions are y, x and, where there is room for all their frequencies or `use_diagonals` asks for them, the
    two diagonals. Each direction carries the frequencies pi / 2 * 2^k, k = 0 .. ceil(log2(resolution)); the highest
    are dropped, equally in all directions, when `max_num_features` is less than that.

    Args:
        resolution: side of the picture that the basis is for, in pixels.
        max_num_features: upper bound of the number of rows.
        use_diagonals: keep the diagonals even if high frequencies must be dropped for them.

    Returns:
        [num_features, 2], float64, angular frequencies (x, y).
    """
    num_powers = math.ceil(math.log2(resolution)) + 1
    directions = _DIRECTIONS
    if 4 * num_powers > max_num_features and not use_diagonals:
        directions = directions[:2]
    num_powers = min(num_powers, max_num_features // len(directions))
    return _octaves(directions, num_powers)


def logarithmic_basis(resolution: int, use_diagonals: bool) -> np.ndarray:
    """Builds the fixed logarithmic basis of the `release` networks.

    Each direction carries the frequencies pi / 2 * 2^k, k = 0 .. ceil(log2(resolution)) - 1.

    Args:
        resolution: side of the grid that the basis is for, in pixels.
        use_diagonals: add the two diagonals to the directions y and x.

    Returns:
        [num_features, 2], float64, angular frequencies (x, y) for coordinates in [-1, 1).
    """
    return _octaves(_DIRECTIONS if use_diagonals else _DIRECTIONS[:2], math.ceil(math.log2(resolution)))


def _octaves(directions: np.ndarray, num_powers: int) -> np.ndarray:
    """[len(directions) * num_powers, 2]: each direction times pi / 2 * 2^k, k = 0 .. num_powers - 1."""
    frequencies = math.pi / 2 * 2.0 ** np.arange(num_powers)
    return (directions[:, None, :] * frequencies[None, :, None]).reshape(-1, 2)
