"""A generator as StableHLO: z, columns and rows in, pictures out, for any batch and any size, without this package.

`jax.export` writes programs for several platforms into one file; `jax.export.deserialize` reads it back. What the
program takes depends on the rule of the lattices:

- `pointwise`: `(z, c, x, y)`, where x [width] and y [height] are the positions of columns and rows; the trained
  picture covers [0, 1) both ways, downwards and to the right. Everything else is computed inside.
- `paper` and `all`: `(z, c, lattices)`, the lattices of the blocks as `lattices_of` makes them for a viewport: one
  mapping of arrays a lattice, coarse to fine.
- a network that draws its trained picture only: `(z, c)`.

c is None for an unconditional generator.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import Truncation
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.viewports import default_rule
from inr_gan_jax.models.generator import Grids
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.models.release.coordinates import ReleaseGrid
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.table_lookup import AxisCells
from inr_gan_jax.ops.viewport import BlockGrid, Viewport

PLATFORMS = ("cpu", "cuda", "tpu")
# In cells of a table: float32 positions of lattice lines lie up to so far before them.
_CELL_TOLERANCE = 1e-4

# One lattice in plain arrays: positions x [width] and y [height]; but for the first, the row and column of the
# lattice before that each row and column takes, and where it is interpolated its share of the next; for learned tables,
# the entries that they take.
Lattice = Mapping[str, Array | np.ndarray]


def export_generator(
    loaded: LoadedGenerator,
    rule: DensifyRule | None = None,
    truncation: Truncation | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Exports the whole way from z to pictures, its weights inside.

    Args:
        loaded: the generator.
        rule: of the lattices; None for the one that suits the network.
        truncation: of the intermediate codes, fixed in the program.
        platforms: to export for.

    Returns:
        The program; its `serialize()` makes the bytes of a file, its `call` draws [batch, height, width, channels].

    Raises:
        UserError: for a truncation without a mean of w, or a rule that the network has no use for.
    """
    if truncation is not None and truncation.psi != 1 and loaded.w_avg is None:
        raise UserError(f"{loaded.source} holds no mean of w, so truncation_psi must be 1")
    scope = export.SymbolicScope()
    codes = _code_specs(loaded, scope)
    draw = functools.partial(_draw, loaded, truncation or Truncation())
    native = loaded.generator.native_viewport
    if not loaded.generator.is_continuous:
        if rule not in (None, native.rule):
            raise UserError(f"{loaded.source} draws its trained picture only, so the rule {rule!r} changes nothing")
        grids = loaded.generator.grids(native)
        return _exported(lambda z, c: draw(z, c, grids), platforms, *codes)
    if (rule or default_rule(loaded.generator)) == "pointwise":
        sides = [_spec(scope, side) for side in ("width", "height")]
        grids_at = pointwise_grids
        return _exported(lambda z, c, x, y: draw(z, c, grids_at(loaded, x, y)), platforms, *codes, *sides)
    lattices = _lattice_specs(loaded, scope)
    return _exported(lambda z, c, lattices: draw(z, c, _grids_from(lattices)), platforms, *codes, lattices)


def lattices_of(loaded: LoadedGenerator, viewport: Viewport) -> list[dict[str, np.ndarray]]:
    """The lattices of a viewport as an exported program of the rules `paper` and `all` takes them.

    Raises:
        ValueError: for a viewport with anti-aliasing, which programs do not have.
    """
    if viewport.antialias:
        raise ValueError("the viewport has anti-aliasing, expected none: exported programs draw points")
    return [_plain(grid, is_first=index == 0) for index, grid in enumerate(_off_native(loaded, viewport))]


def pointwise_grids(loaded: LoadedGenerator, x: Array, y: Array) -> Grids:
    """The lattices of the rule `pointwise`, made of positions inside of a program.

    Args:
        loaded: the generator.
        x: [width], columns; 0 and 1 are the borders of the trained picture.
        y: [height], rows, downwards.

    Returns:
        Every block at every point. Tables are read at the nearest entry, mirrored beyond their borders.
    """
    network = loaded.generator.network
    first, later = BlockGrid(x=x, y=y), BlockGrid(x=x, y=y, repeats=(1, 1))
    if not isinstance(network, ReleaseNetwork):
        return (first, *[later] * network.settings.last)
    grids = []
    for index, (side, _) in enumerate(network.settings.native_sizes):
        lattice = later if index else first
        grid = ReleaseGrid(lattice=lattice, x=2 * x - 1, y=1 - 2 * y - 2 / side)
        grids.append(grid.replace(rows=_cells(y, side), columns=_cells(x, side)))
    return tuple(grids)


def _draw(loaded: LoadedGenerator, truncation: Truncation, z: Array, c: Array | None, grids: Grids) -> Array:
    generator, variables = loaded.generator, loaded.variables
    ws = generator.batch_mapping(variables, z, c)
    if truncation.psi != 1 and loaded.w_avg is not None:
        ws = truncate(ws, loaded.w_avg, truncation.psi, truncation.cutoff)

    def one(ws: Array) -> Array:
        return generator.render_grids(variables, generator.modulation(variables, ws), grids)

    return jax.vmap(one)(ws)


def _exported(function: Callable[..., Array], platforms: Sequence[str], *specs: Any) -> export.Exported:
    return export.export(jax.jit(function), platforms=platforms)(*specs)


def _spec(scope: export.SymbolicScope, shape: str, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), dtype)


def _code_specs(loaded: LoadedGenerator, scope: export.SymbolicScope) -> tuple[Any, Any]:
    generator = loaded.generator
    c = _spec(scope, f"batch, {generator.c_dim}") if generator.c_dim else None
    return _spec(scope, f"batch, {generator.z_dim}"), c


def _cells(positions: Array, side: int) -> AxisCells:
    """As `axis_cells` with its default rule, inside of a program."""
    cells = jnp.floor(positions * side + _CELL_TOLERANCE).astype(jnp.int32) % (2 * side)
    return AxisCells(lower=jnp.minimum(cells, 2 * side - 1 - cells))


def _off_native(loaded: LoadedGenerator, viewport: Viewport) -> Grids:
    """The lattices of a viewport, with the entries of tables spelled out also where they are all in order."""
    grids = []
    for grid in loaded.generator.grids(viewport):
        if isinstance(grid, ReleaseGrid) and grid.is_native:
            height, width = grid.lattice.size
            rows, columns = np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
            grids.append(grid.replace(rows=AxisCells(lower=rows), columns=AxisCells(lower=columns)))
        else:
            grids.append(grid)
    return tuple(grids)


def _plain(grid: BlockGrid | ReleaseGrid, is_first: bool) -> dict[str, np.ndarray]:
    lattice = grid.lattice if isinstance(grid, ReleaseGrid) else grid
    arrays = {"x": np.asarray(grid.x, np.float32), "y": np.asarray(grid.y, np.float32)}
    if not is_first:
        arrays |= {"row_index": np.asarray(lattice.row_index), "column_index": np.asarray(lattice.column_index)}
    if lattice.row_share is not None:
        shares = {"row_share": lattice.row_share, "column_share": lattice.column_share}
        arrays |= {name: np.asarray(share, np.float32) for name, share in shares.items()}
    if isinstance(grid, ReleaseGrid):
        assert grid.rows is not None, "spelled out before"
        assert grid.columns is not None, "spelled out before"
        arrays |= {"table_rows": np.asarray(grid.rows.lower), "table_columns": np.asarray(grid.columns.lower)}
    return arrays


def _grids_from(lattices: Sequence[Mapping[str, Array]]) -> Grids:
    grids: list[Any] = []
    for arrays in lattices:
        names = ("row_index", "column_index", "row_share", "column_share")
        cells: dict[str, Any] = {name: arrays[name] for name in names if name in arrays}
        grid: Any = BlockGrid(arrays["x"], arrays["y"], **cells)
        if "table_rows" in arrays:
            rows, columns = AxisCells(lower=arrays["table_rows"]), AxisCells(lower=arrays["table_columns"])
            grid = ReleaseGrid(lattice=grid, x=grid.x, y=grid.y, rows=rows, columns=columns)
        grids.append(grid)
    return tuple(grids)


def _lattice_specs(loaded: LoadedGenerator, scope: export.SymbolicScope) -> list[dict[str, jax.ShapeDtypeStruct]]:
    """Symbolic sizes: height and width of the picture, height_0, width_0, height_1, … of the lattices before."""
    lattices = lattices_of(loaded, loaded.generator.native_viewport)
    names = [f"_{index}" for index in range(len(lattices) - 1)] + [""]

    def spec(name: str, array: np.ndarray, suffix: str) -> jax.ShapeDtypeStruct:
        axis = "height" if name in ("y", "row_index", "row_share", "table_rows") else "width"
        return _spec(scope, f"{axis}{suffix}", array.dtype)

    pairs = zip(lattices, names, strict=True)
    return [{name: spec(name, array, suffix) for name, array in arrays.items()} for arrays, suffix in pairs]
