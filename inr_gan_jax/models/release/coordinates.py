"""Coordinates of the `release` family: grids, and the embedding of positions."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array, along_last
from inr_gan_jax.models.layers import EqualisedDense
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.settings import CoordinateSettings
from inr_gan_jax.ops.fourier_features import box_average, grid_phases, logarithmic_basis
from inr_gan_jax.ops.table_lookup import AxisCells, axis_cells, nearest_cells, read_table
from inr_gan_jax.ops.viewport import BlockGrid, Layout, Viewport, block_grids, fill_up


class ReleaseGrid(struct.PyTreeNode):
    """One of the grids of a network, in its own coordinates.

    Attributes:
        block_grid: positions in the unit square and indices into the previous grid.
        x: [width], coordinate of the columns; the trained picture covers [-1, 1), to the right.
        y: [height], coordinate of the rows, upwards; 1 - 2 / resolution is the first row of the trained picture.
        rows: table entries that the rows read; None for all of them in order.
        columns: likewise for the columns.
    """

    block_grid: BlockGrid
    x: Array | np.ndarray
    y: Array | np.ndarray
    rows: AxisCells | None = None
    columns: AxisCells | None = None

    @property
    def is_native(self) -> bool:
        """Whether this is the trained grid, on which tables need no look-up."""
        return self.rows is None and self.columns is None

    @property
    def layout(self) -> Layout:
        """What a compiled program depends on."""
        return self.block_grid.layout

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays by name; the indices into tables are included even where they only count up."""
        height, width = self.block_grid.size
        rows = np.arange(height, dtype=np.int32) if self.rows is None else np.asarray(self.rows.lower)
        columns = np.arange(width, dtype=np.int32) if self.columns is None else np.asarray(self.columns.lower)
        positions = {"x": np.asarray(self.x, np.float32), "y": np.asarray(self.y, np.float32)}
        return self.block_grid.to_arrays() | positions | {"table_rows": rows, "table_columns": columns}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "ReleaseGrid":
        """The inverse of `to_arrays`, without the positions of `block_grid`, which rendering does not use."""
        rows, columns = AxisCells(lower=arrays["table_rows"]), AxisCells(lower=arrays["table_columns"])
        return cls(BlockGrid.from_arrays(arrays), arrays["x"], arrays["y"], rows, columns)

    def with_layout(self, layout: Layout) -> "ReleaseGrid":
        """The same grid filled up to another size; see `BlockGrid.with_layout`."""
        height, width = layout.size
        return self.replace(
            block_grid=self.block_grid.with_layout(layout),
            x=fill_up(np.asarray(self.x), width),
            y=fill_up(np.asarray(self.y), height),
            rows=jax.tree.map(lambda array: fill_up(array, height), self.rows),
            columns=jax.tree.map(lambda array: fill_up(array, width), self.columns),
        )


def pointwise_release_grids(settings: ReleaseArchitecture, x: Array, y: Array) -> tuple[ReleaseGrid, ...]:
    """The grids of the rule `pointwise` at positions known only inside a compiled program.

    Tables are read at the nearest entry, mirrored beyond their borders.

    Args:
        settings: of the generator.
        x: [width], columns; 0 and 1 are the borders of the trained picture.
        y: [height], rows, downwards.
    """
    grids = []
    for index, (side, _) in enumerate(settings.native_sizes):
        block_grid = BlockGrid(x=x, y=y, repeats=(1, 1) if index else None)
        rows, columns = nearest_cells(y, side), nearest_cells(x, side)
        grids.append(ReleaseGrid(block_grid, x=2 * x - 1, y=1 - 2 * y - 2 / side, rows=rows, columns=columns))
    return tuple(grids)


def release_grids(settings: ReleaseArchitecture, viewport: Viewport) -> tuple[ReleaseGrid, ...]:
    """Computes the distinct grids of a network for one viewport.

    Args:
        settings: of the generator.
        viewport: region, density and densification rule.

    Returns:
        One entry per distinct grid, coarse to fine, on the host.

    Raises:
        ValueError: if the network can only render its trained picture and another viewport is given.
    """
    sizes = settings.native_sizes
    grids = []
    for (resolution, _), block_grid in zip(
        sizes, block_grids(viewport, sizes, settings.first_dense_lattice), strict=True
    ):
        x, y = np.asarray(block_grid.x, np.float64), np.asarray(block_grid.y, np.float64)
        native = np.arange(resolution) / resolution
        is_native = np.array_equal(x, native) and np.array_equal(y, native)
        if not is_native and not settings.is_continuous:
            raise ValueError(
                f"the viewport {viewport} is not the trained picture of {settings.resolution} x {settings.resolution} "
                "pixels; a network with kernel size 3, bilinear or FIR upsampling or instance norm renders no other"
            )
        grid = ReleaseGrid(block_grid=block_grid, x=2 * x - 1, y=1 - 2 * y - 2 / resolution)
        if not is_native:
            rule = viewport.tables
            grid = grid.replace(rows=axis_cells(y, resolution, rule), columns=axis_cells(x, resolution, rule))
        grids.append(grid)
    return tuple(grids)


class CoordinateModulation(struct.PyTreeNode):
    """Predicted per image for its coordinates.

    Attributes:
        basis: [num_predicted_features, 2], angular frequencies (x, y), scaled.
        phase: [num_predicted_features], radians.
    """

    basis: Array
    phase: Array


class CoordinateEmbedding(nn.Module):
    """Embeds positions: raw coordinates, waves of several bases, a trained table.

    Attributes:
        settings: at this resolution.
        w_dim: size of the intermediate latent code.
    """

    settings: CoordinateSettings
    w_dim: int

    def setup(self) -> None:
        settings = self.settings
        if settings.num_log_features:
            basis = logarithmic_basis(settings.resolution, settings.use_diagonals)
            self.log_basis = self.variable("constants", "log_basis", lambda: jnp.asarray(basis, jnp.float32))
        if settings.num_random_features:
            self.random_basis = self.variable(
                "constants",
                "random_basis",
                lambda: self._sample_basis(self.make_rng("params"), (settings.num_random_features, 2)),
            )
        if settings.num_shared_features:
            self.shared_basis = self.param("shared_basis", self._sample_basis, (settings.num_shared_features, 2))
        if settings.num_predicted_features:
            self.affine = EqualisedDense(3 * settings.num_predicted_features)
        if settings.table_channels:
            shape = (settings.resolution, settings.resolution, settings.table_channels)
            self.table = self.param("table", nn.initializers.normal(1.0), shape)

    def _sample_basis(self, key: Array, shape: tuple[int, int]) -> Array:
        if self.settings.init_distribution == "uniform":
            return jax.random.uniform(key, shape, minval=-1.0) * self.settings.fourier_scale
        return jax.random.normal(key, shape) * self.settings.fourier_scale

    def modulation(self, w: Array) -> CoordinateModulation | None:
        """Maps w [w_dim] to the predicted frequencies and phases; None when there are none."""
        count = self.settings.num_predicted_features
        if not count:
            return None
        predicted = self.affine(w)
        basis = predicted[: 2 * count].reshape(count, 2) * self.settings.fourier_scale
        return CoordinateModulation(basis=basis, phase=predicted[2 * count :])

    def __call__(self, grid: ReleaseGrid, modulation: CoordinateModulation | None, dtype: jnp.dtype) -> Array:
        """Embeds a grid.

        Args:
            grid: the grid.
            modulation: of the image; None when nothing is predicted.
            dtype: of the result.

        Returns:
            [height, width, features]: x and y, all sines, all cosines, the table; whichever the settings include.
        """
        settings = self.settings
        x, y = jnp.asarray(grid.x, dtype), jnp.asarray(grid.y, dtype)
        size = (y.shape[0], x.shape[0])
        parts = []
        if settings.use_raw_coordinates:
            parts.append(jnp.stack(jnp.broadcast_arrays(x[None, :], y[:, None]), axis=-1))
        if settings.num_phases:
            phases = self._phases(x, y, modulation)
            kept = self._kept(grid, modulation, dtype)
            parts.append(kept * jnp.sin(phases))
            if settings.use_cosine:
                parts.append(kept * jnp.cos(phases))
        if settings.table_channels:
            parts.append(read_table(self.table, grid.rows, grid.columns))
        return jnp.concatenate(parts, axis=-1) if parts else jnp.zeros((*size, 0), dtype)

    def _kept(self, grid: ReleaseGrid, modulation: CoordinateModulation | None, dtype: jnp.dtype) -> Array | float:
        """Factor of each wave under anti-aliasing: 1, or [1, 1, num_phases]."""
        if grid.block_grid.footprint is None:
            return 1.0
        bases = self._fixed_bases() + ([modulation.basis] if modulation is not None else [])
        # The trained picture is 2 wide in these coordinates and 1 in those of the grid.
        return along_last(box_average(jnp.concatenate(bases), 2 * jnp.asarray(grid.block_grid.footprint, dtype)), 3)

    def _fixed_bases(self) -> list[Array]:
        """The bases that do not depend on the image."""
        bases = []
        if self.settings.num_log_features:
            bases.append(self.log_basis.value)
        if self.settings.num_random_features:
            bases.append(self.random_basis.value)
        if self.settings.num_shared_features:
            bases.append(self.shared_basis)
        return bases

    def _phases(self, x: Array, y: Array, modulation: CoordinateModulation | None) -> Array:
        bases = self._fixed_bases()
        # Without the predicted part the phases are the same for all images of the batch, so they are computed once.
        parts = [grid_phases(jnp.concatenate(bases), x, y)] if bases else []
        if modulation is not None:
            parts.append(grid_phases(modulation.basis, x, y) + along_last(modulation.phase, 3))
        return jnp.concatenate(parts, axis=-1)
