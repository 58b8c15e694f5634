"""Tiles of the trained picture, enlarged by the usual filters, to lay beside those of the INR."""

import math

import numpy as np

from inr_gan_jax.inference.resampling import Filter, resize
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.viewer.plane import TILE, Tile

FILTERS: tuple[Filter, ...] = ("nearest", "bilinear", "bicubic", "lanczos")


def filtered_tile(native: np.ndarray, tile: Tile, name: Filter) -> np.ndarray:
    """Enlarges what a tile shows of the trained picture.

    Args:
        native: [height, width, channels], about [-1, 1].
        tile: the square of the plane.
        name: of the filter.

    Returns:
        [TILE, TILE, channels + 1], uint8, the last channel opaque within the trained picture.
    """
    drawn = np.zeros((TILE, TILE, native.shape[-1] + 1), np.uint8)
    # Trained pixels that a pixel of the tile is long.
    step = tile.extent / TILE * max(native.shape[:2])
    rows = _within(tile.row, step, native.shape[0])
    columns = _within(tile.column, step, native.shape[1])
    if not rows or not columns:
        return drawn
    box = (columns[0] * step, rows[0] * step, columns[-1] * step + step, rows[-1] * step + step)
    # Rounding may lead beyond the border, where there is nothing.
    top, left = tile.row * TILE, tile.column * TILE
    limits = (native.shape[1], native.shape[0]) * 2
    box = tuple(min(value, float(limit)) for value, limit in zip(box, limits, strict=True))
    part = to_uint8(resize(native, (len(rows), len(columns)), name, box))
    inside = drawn[rows[0] - top : rows[-1] + 1 - top, columns[0] - left : columns[-1] + 1 - left]
    inside[..., :-1], inside[..., -1] = part, 255
    return drawn


def _within(place: int, step: float, size: int) -> range:
    """Pixels of a tile, counted from the border of the trained picture, that lie within it as a whole."""
    first, last = place * TILE, (place + 1) * TILE
    return range(max(first, 0), min(last, math.floor(size / step + 1e-6)))
