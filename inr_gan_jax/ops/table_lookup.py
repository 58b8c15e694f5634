"""Learned tables, one entry per pixel of a square grid, read at any point of the plane."""

import dataclasses
import typing

import jax.numpy as jnp
import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array
from inr_gan_jax.ops.rules import Between, Beyond

# A point on a grid line belongs to the cell that starts there, although 0.3 * 10 may round to 2.9999999999999996.
_CELL_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class TableRule:
    """How a table is read where it was not trained.

    Attributes:
        between: between grid points; `nearest`: the cell that the point falls in, `bilinear`: interpolated.
        beyond: outside of the trained picture; `reflect`: mirrored at its borders, `clamp`: the border cell,
            `wrap`: repeated.
    """

    between: Between = "nearest"
    beyond: Beyond = "reflect"

    def __post_init__(self) -> None:
        for name, choices in (("between", Between), ("beyond", Beyond)):
            value, allowed = getattr(self, name), typing.get_args(choices)
            if value not in allowed:
                raise ValueError(f"table rule {name} is {value!r}, expected one of {', '.join(allowed)}")


class AxisCells(struct.PyTreeNode):
    """Which entries of a table the positions along one axis read.

    Attributes:
        lower: [size], integer index of the cell that each position falls in.
        upper: [size], index of the next cell; None without interpolation.
        weight: [size], interpolation weight of the next cell, in [0, 1); None without interpolation.
    """

    lower: Array | np.ndarray
    upper: Array | np.ndarray | None = None
    weight: Array | np.ndarray | None = None


def axis_cells(positions: np.ndarray, resolution: int, rule: TableRule) -> AxisCells:
    """Finds the entries of a table for positions along one axis.

    Args:
        positions: [size], float64; 0 and 1 are the borders of the trained picture.
        resolution: entries of the table along the axis.
        rule: between and beyond the grid points.

    Returns:
        The cells, on the host.
    """
    scaled = np.asarray(positions, np.float64) * resolution
    cells = np.floor(scaled + _CELL_TOLERANCE).astype(np.int64)
    lower = _inside(cells, resolution, rule.beyond)
    if rule.between == "nearest":
        return AxisCells(lower=lower)
    weight = np.clip(scaled - cells, 0.0, 1.0)
    return AxisCells(lower=lower, upper=_inside(cells + 1, resolution, rule.beyond), weight=weight)


def nearest_cells(positions: Array, resolution: int) -> AxisCells:
    """As `axis_cells` with the default rule, for positions known only inside a compiled program."""
    # Positions in float32 may lie this far before the line of the cell that they start.
    cells = jnp.floor(positions * resolution + 1e-4).astype(jnp.int32) % (2 * resolution)
    return AxisCells(lower=jnp.minimum(cells, 2 * resolution - 1 - cells))


def _inside(cells: np.ndarray, resolution: int, beyond: Beyond) -> np.ndarray:
    if beyond == "clamp":
        folded = np.clip(cells, 0, resolution - 1)
    elif beyond == "wrap":
        folded = cells % resolution
    else:
        around = cells % (2 * resolution)
        folded = np.minimum(around, 2 * resolution - 1 - around)
    return folded.astype(np.int32)


def read_table(table: Array, rows: AxisCells | None, columns: AxisCells | None) -> Array:
    """Reads a table on a grid.

    Args:
        table: [resolution, resolution, ...].
        rows: the cells of the rows; None for all of them in order.
        columns: likewise for the columns.

    Returns:
        [height, width, ...].
    """
    for axis, cells in enumerate((rows, columns)):
        if cells is None:
            continue
        values = jnp.take(table, jnp.asarray(cells.lower), axis=axis)
        if cells.upper is not None and cells.weight is not None:
            shape = [1] * table.ndim
            shape[axis] = -1
            weight = jnp.asarray(cells.weight, table.dtype).reshape(shape)
            values = values * (1 - weight) + jnp.take(table, jnp.asarray(cells.upper), axis=axis) * weight
        table = values
    return table
