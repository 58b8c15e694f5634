"""Fourier features of coordinates: bases and their embedding."""

import math

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, check_shape


def fourier_features(basis: Array, x: Array, y: Array) -> Array:
    """Embeds the lattice spanned by column and row positions as sines and cosines.

    Args:
        basis: [num_features, 2], angular frequencies (x, y) in radians a unit length.
        x: [width], column positions.
        y: [height], row positions.

    Returns:
        [height, width, 2 * num_features], in [-1, 1]: all sines, then all cosines.

    Raises:
        ValueError: if `basis` does not have two columns.

    Source: arXiv 2011.12026 §3.2; no factor 2 pi and no phase offset.
    """
    check_shape("basis", basis, (None, 2))
    phases = x[None, :, None] * basis[None, None, :, 0] + y[:, None, None] * basis[None, None, :, 1]
    return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1)


def fixed_basis(resolution: int, max_num_features: int, use_diagonals: bool = True) -> np.ndarray:
    """Builds the fixed logarithmic basis of the `paper` model.

    The directions are y, x and, where there is room for all their frequencies or `use_diagonals` asks for them, the
    two diagonals. Each direction carries the frequencies pi / 2 * 2^k, k = 0 .. ceil(log2(resolution)); the highest
    are dropped, equally in all directions, when `max_num_features` is less than that.

    Args:
        resolution: side of the picture that the basis is for, in pixels.
        max_num_features: upper bound of the number of rows.
        use_diagonals: keep the diagonals even if high frequencies have to go for them.

    Returns:
        [num_features, 2], float64, angular frequencies (x, y).
    """
    num_powers = math.ceil(math.log2(resolution)) + 1
    directions = np.array([(0.0, 1.0), (1.0, 0.0), (-0.5, 0.5), (0.5, 0.5)])
    if 4 * num_powers > max_num_features and not use_diagonals:
        directions = directions[:2]
    num_powers = min(num_powers, max_num_features // len(directions))
    frequencies = math.pi / 2 * 2.0 ** np.arange(num_powers)
    return (directions[:, None, :] * frequencies[None, :, None]).reshape(-1, 2)
