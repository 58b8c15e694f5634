"""Where an image is sampled: a rectangle of the plane, and the grid each block of an INR runs on.

The trained picture covers the unit square of the plane: x to the right, y down, both in [0, 1). The pixel in row i and
column j of a picture of size R stands for the point (j / R, i / R), the convention the `paper` model is trained with.
Positions are computed in NumPy float64 on the host, so that a crop far from the origin is as exact as the full picture.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array
from inr_gan_jax.ops.rules import Between, DensifyRule
from inr_gan_jax.ops.table_lookup import TableRule

# A point on a grid line belongs to the cell that starts there, although 0.3 * 10 may round to 2.9999999999999996.
_CELL_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Viewport:
    """A rectangle of the image plane and its pixel grid.

    Pixel (row, column) samples the point (left + column * width_extent / width, top + row * height_extent / height).

    Attributes:
        height: pixels from top to bottom.
        width: pixels from left to right.
        top: y of the first row; 0 is the upper border of the trained picture.
        left: x of the first column; 0 is the left border of the trained picture.
        height_extent: length covered downwards; 1 is the whole trained picture.
        width_extent: length covered to the right; 1 is the whole trained picture.
        rule: which blocks of a multi-scale INR get denser than they were trained. `paper`: the blocks from
            `first_dense_block` on (arXiv 2011.12026, super-resolution); `all`: every block, ratios between the blocks
            kept; `pointwise`: every block is evaluated at every pixel, so the picture is a function of the point alone.
        tables: what learned tables, one entry a trained pixel, hold between and beyond the trained pixels.
        antialias: where a grid is coarser than trained, average each wave around a point over the trained points
            that it stands for: what is above the coarse Nyquist limit fades instead of turning into other, lower
            frequencies. Such a viewport should be `centred_on` the trained size.
    """

    height: int
    width: int
    top: float = 0.0
    left: float = 0.0
    height_extent: float = 1.0
    width_extent: float = 1.0
    rule: DensifyRule = "paper"
    tables: TableRule = dataclasses.field(default_factory=TableRule)
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"viewport size is {self.height} x {self.width}, expected at least 1 x 1")
        numbers = (self.top, self.left, self.height_extent, self.width_extent)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"viewport has top, left, height_extent, width_extent = {numbers}, expected finite numbers"
            )
        if self.height_extent <= 0 or self.width_extent <= 0:
            raise ValueError(f"viewport covers {self.height_extent} x {self.width_extent}, expected more than 0")
        if self.rule not in typing.get_args(DensifyRule):
            raise ValueError(
                f"viewport rule is {self.rule!r}, expected one of {', '.join(typing.get_args(DensifyRule))}"
            )

    def crop(self, top: int, left: int, height: int, width: int) -> "Viewport":
        """Returns the viewport of a rectangle of this one's pixels, at the same density.

        Args:
            top: first row to keep; may lie outside.
            left: first column to keep; may lie outside.
            height: rows to keep.
            width: columns to keep.
        """
        row_step, column_step = self.height_extent / self.height, self.width_extent / self.width
        return dataclasses.replace(
            self,
            height=height,
            width=width,
            top=self.top + top * row_step,
            left=self.left + left * column_step,
            height_extent=height * row_step,
            width_extent=width * column_step,
        )

    def zoom_out(self, factor: float) -> "Viewport":
        """Returns the viewport of the same pixel count and centre that covers `factor` times the length each way."""
        return dataclasses.replace(
            self,
            top=self.top - (factor - 1) / 2 * self.height_extent,
            left=self.left - (factor - 1) / 2 * self.width_extent,
            height_extent=factor * self.height_extent,
            width_extent=factor * self.width_extent,
        )

    def centred_on(self, native_size: tuple[int, int]) -> "Viewport":
        """Returns this viewport moved so that images of several densities align exactly.

        A pixel on a screen covers an area around its point. A picture of native size R therefore shows
        [-0.5 / R, 1 - 0.5 / R), and a denser one of the same area starts half a native pixel less half a dense one
        earlier. Use it to compare a super-resolved image with its native pixels.

        Args:
            native_size: (height, width) of the image to align with.
        """
        return dataclasses.replace(
            self,
            top=self.top + 0.5 * (self.height_extent / self.height - 1 / native_size[0]),
            left=self.left + 0.5 * (self.width_extent / self.width - 1 / native_size[1]),
        )


@dataclasses.dataclass(frozen=True)
class Layout:
    """The static part of a grid, which a compiled program depends on.

    Attributes:
        size: (height, width).
        repeats: as in `BlockGrid`.
    """

    size: tuple[int, int]
    repeats: tuple[int, int] | None


class BlockGrid(struct.PyTreeNode):
    """The points that one block is evaluated at, and how they index the grid of the previous block.

    Attributes:
        x: [width], positions of the columns; 0 and 1 are the borders of the trained picture.
        y: [height], positions of the rows, downwards.
        row_index: [height], row of the previous block that each row gathers features from; None in the first block.
        column_index: [width], likewise for columns.
        row_share: [height], interpolation weight of the next row of the previous block, in [0, 1); None for nearest
            upsampling.
        column_share: [width], likewise for columns.
        footprint: [2], width and height of the box around each position that waves are averaged over; None for points.
        repeats: (rows, columns) when the indices only repeat each row and column this many times; None otherwise.
    """

    x: Array | np.ndarray
    y: Array | np.ndarray
    row_index: Array | np.ndarray | None = None
    column_index: Array | np.ndarray | None = None
    row_share: Array | np.ndarray | None = None
    column_share: Array | np.ndarray | None = None
    footprint: Array | np.ndarray | None = None
    repeats: tuple[int, int] | None = struct.field(pytree_node=False, default=None)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the grid."""
        return self.y.shape[0], self.x.shape[0]

    @property
    def layout(self) -> Layout:
        """What a compiled program depends on."""
        return Layout(self.size, self.repeats)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays by name, positions in float32; without the footprint, so for viewports without anti-aliasing."""
        arrays = {"x": np.asarray(self.x, np.float32), "y": np.asarray(self.y, np.float32)}
        for name in ("row_index", "column_index"):
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name))
        for name in ("row_share", "column_share"):
            if getattr(self, name) is not None:
                arrays[name] = np.asarray(getattr(self, name), np.float32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "BlockGrid":
        """The inverse of `to_arrays`; other entries are ignored."""
        names = ("row_index", "column_index", "row_share", "column_share")
        cells: dict[str, Any] = {name: arrays[name] for name in names if name in arrays}
        return cls(arrays["x"], arrays["y"], **cells)

    def with_layout(self, layout: Layout) -> "BlockGrid":
        """The same grid padded to another size with its last row and column, which nothing reads."""

        def filled(array: Array | np.ndarray | None, axis: int) -> np.ndarray | None:
            return None if array is None else fill_up(np.asarray(array), layout.size[axis])

        return self.replace(
            x=filled(self.x, 1),
            y=filled(self.y, 0),
            row_index=filled(self.row_index, 0),
            column_index=filled(self.column_index, 1),
            row_share=filled(self.row_share, 0),
            column_share=filled(self.column_share, 1),
            repeats=layout.repeats,
        )


def fill_up(array: np.ndarray, size: int) -> np.ndarray:
    """Appends copies of the last entry until there are `size`."""
    return np.pad(array, (0, size - array.size), "edge")


def common_layout(layouts: Iterable[tuple[Layout, ...]]) -> tuple[Layout, ...]:
    """The layout, grid by grid, that the grids of several viewports can be padded to.

    Args:
        layouts: of each viewport, coarse to fine.

    Returns:
        The largest sizes; regular repeats only where all have the same.
    """
    return tuple(
        Layout(
            size=(max(layout.size[0] for layout in same), max(layout.size[1] for layout in same)),
            repeats=same[0].repeats if len(set(same)) == 1 else None,
        )
        for same in zip(*layouts, strict=True)
    )


def block_grids(
    viewport: Viewport,
    native_sizes: Sequence[tuple[int, int]],
    first_dense_block: int = 1,
    upsampling: Between = "nearest",
) -> tuple[BlockGrid, ...]:
    """Computes the grids of all blocks of a multi-scale INR for one viewport.

    The last block is evaluated at the pixels of the viewport. Earlier blocks use grids through the origin of the
    plane, and a point gathers the features of the cell it falls in (nearest upsampling) or interpolates between the
    corners of that cell (bilinear), so that the image at a point does not depend on the viewport.

    Args:
        viewport: region, density and densification rule.
        native_sizes: (height, width) that each block is trained at, coarse to fine.
        first_dense_block: for the rule `paper`, the first block that runs denser; one that matches no block means all.
        upsampling: how a point gathers features of the previous block.

    Returns:
        One BlockGrid per block, coarse to fine; positions in float64.

    Source: arXiv 2011.12026, multi-scale INRs and super-resolution.
    """
    rows, columns = (
        _axis_grids(viewport, axis, [size[axis] for size in native_sizes], first_dense_block, upsampling)
        for axis in (0, 1)
    )
    grids = []
    for row, column in zip(rows, columns, strict=True):
        repeats = None
        if row.cells is not None and column.cells is not None and row.shares is None:
            row_repeat, column_repeat = _repeat_of(row.cells), _repeat_of(column.cells)
            repeats = (row_repeat, column_repeat) if row_repeat and column_repeat else None
        x, y, footprint = column.points, row.points, None
        if viewport.antialias and max(row.excess, column.excess) > 0:
            footprint = np.array([column.footprint, row.footprint])
            is_last = len(grids) == len(native_sizes) - 1
            if not is_last and viewport.rule != "pointwise" and upsampling == "nearest":
                # The last grid is given by the viewport; the others start at the corners of their cells.
                # Interpolation needs the values at the corners.
                x, y = x + column.shift, y + row.shift
        shares = {"row_share": row.shares, "column_share": column.shares}
        grids.append(BlockGrid(x, y, row.cells, column.cells, **shares, footprint=footprint, repeats=repeats))
    return tuple(grids)


@dataclasses.dataclass(frozen=True)
class _AxisGrid:
    """One axis of a block's grid.

    Attributes:
        points: [size], positions.
        cells: [size], point of the block before in whose cell each position falls; None in the first block.
        shares: [size], how far each position lies behind that point, in cells; None for nearest upsampling.
        step: distance of the positions.
        trained_step: distance in training.
    """

    points: np.ndarray
    cells: np.ndarray | None
    shares: np.ndarray | None
    step: float
    trained_step: float

    @property
    def excess(self) -> float:
        """Excess of the step over that in training; 0 where it is not longer."""
        excess = self.step - self.trained_step
        return excess if excess > _CELL_TOLERANCE * self.trained_step else 0.0

    @property
    def shift(self) -> float:
        """From the corner of a cell to the middle of the trained points that it stands for."""
        return self.excess / 2

    @property
    def footprint(self) -> float:
        """Width of a box whose variance is that of `step / trained_step` points `trained_step` apart."""
        return math.sqrt(self.step**2 - self.trained_step**2) if self.excess else 0.0


def _axis_grids(
    viewport: Viewport, axis: int, native: Sequence[int], first_dense_block: int, upsampling: Between
) -> list[_AxisGrid]:
    """The grids of all blocks along one axis: 0 for the rows, 1 for the columns."""
    start, count = ((viewport.top, viewport.height), (viewport.left, viewport.width))[axis]
    extent = (viewport.height_extent, viewport.width_extent)[axis]
    points, step = start + np.arange(count) * (extent / count), extent / count
    if viewport.rule == "pointwise":
        identity = np.arange(count, dtype=np.int32)
        # Trained on nested grids or not, the picture shows what the finest block was trained at.
        cells = [identity if block else None for block in range(len(native))]
        return [_AxisGrid(points, each, None, step, 1 / native[-1]) for each in cells]
    density = count / extent
    dense_from = first_dense_block if viewport.rule == "paper" and first_dense_block < len(native) else 0
    grids: list[_AxisGrid] = []
    # From fine to coarse: the cells that a block needs follow from the positions of the next finer one.
    for block in reversed(range(1, len(native))):
        density_before = native[block - 1] * (density / native[-1] if block - 1 >= dense_from else 1.0)
        cells = np.floor(points * density_before + _CELL_TOLERANCE).astype(np.int64)
        shares, last = None, cells[-1]
        if upsampling == "bilinear":
            shares, last = np.maximum(points * density_before - cells, 0.0), cells[-1] + 1
        grids.append(_AxisGrid(points, (cells - cells[0]).astype(np.int32), shares, step, 1 / native[block]))
        points, step = np.arange(cells[0], last + 1) / density_before, 1 / density_before
    return [_AxisGrid(points, None, None, step, 1 / native[0]), *reversed(grids)]


def _repeat_of(index: np.ndarray) -> int | None:
    """Length of the runs when the index is 0 0 .. 1 1 .. of equal runs, else None."""
    repeat, remainder = divmod(index.size, int(index[-1]) + 1)
    return repeat if remainder == 0 and np.array_equal(index, np.arange(index.size) // repeat) else None
