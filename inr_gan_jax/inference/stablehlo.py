"""A generator as StableHLO: from z, columns and rows to images, of any batch and size, without this package.

`jax.export` writes programs for several platforms into one file; `jax.export.deserialize` reads it back. What the
program takes depends on the rule of the grids:

- `pointwise`: `(z, c, x, y)`, where x [width] and y [height] are the positions of columns and rows; the trained
  image covers [0, 1) in both directions, downwards and to the right. Everything else is computed inside.
- `paper` and `all`: `(z, c, grids)`, the grids of the blocks as `plain_grids` computes them for a viewport: one mapping
  of arrays per grid, coarse to fine.
- a network that renders only its trained image: `(z, c)`.

c is None for an unconditional generator.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import settings_metadata
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.viewports import default_rule
from inr_gan_jax.models.generator import Grids
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.models.release.coordinates import ReleaseGrid
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.table_lookup import AxisCells
from inr_gan_jax.ops.viewport import BlockGrid, Viewport
from inr_gan_jax.sampling import Truncation

PLATFORMS = ("cpu", "cuda", "tpu")
_NEEDS_FLATBUFFERS = (
    "writing StableHLO needs the package flatbuffers: pip install 'inr_gan_jax[export]' (or pip install flatbuffers)"
)
_MEANINGS = {
    "z": "latent codes, standard normal",
    "c": "labels, one-hot",
    "x": "positions of the columns; 0 and 1 are the borders of the trained image, to the right",
    "y": "positions of the rows; 0 and 1 are the borders of the trained image, downwards",
    "row_index": "for each row, the row of the preceding grid whose features it uses",
    "column_index": "for each column, the column of the preceding grid whose features it uses",
    "row_share": "share of the row after that one, in [0, 1)",
    "column_share": "share of the column after that one, in [0, 1)",
    "table_rows": "for each row, its row of the learned tables",
    "table_columns": "for each column, its column of the learned tables",
}
_POSITIONS = {"pointwise": ", x, y", "native": "", "nested": ", grids"}
# In cells of a table: float32 positions of grid lines may lie this far before them.
_CELL_TOLERANCE = 1e-4

# One grid in plain arrays: positions x [width] and y [height]; except for the first, the row and column of the
# preceding grid that each row and column uses, and if interpolated the share of the next one; for learned tables, the
# entries that they use.
PlainGrid = Mapping[str, Array | np.ndarray]


def save_stablehlo(
    path: Path, loaded: LoadedGenerator, rule: DensifyRule | None = None, truncation: Truncation | None = None
) -> dict[str, Any]:
    """Writes a generator as StableHLO for CPU, CUDA and TPU, and a .json next to it that describes the call.

    Args:
        path: of the program.
        loaded: the generator.
        rule: of the grids; None for `default_rule`.
        truncation: fixed in the program.

    Returns:
        What the .json holds.

    Raises:
        UserError: if the files cannot be written, flatbuffers is missing, or the network does not support the rule or
            truncation.
    """
    exported = export_generator(loaded, rule, truncation)
    try:
        serialised = bytes(exported.serialize())
    except ImportError as error:
        raise UserError(_NEEDS_FLATBUFFERS) from error
    description = describe(exported, loaded, rule, truncation or Truncation())
    description |= {"bytes": len(serialised), "sha256": hashlib.sha256(serialised).hexdigest()}
    try:
        path.write_bytes(serialised)
        path.with_name(f"{path.name}.json").write_text(json.dumps(description, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
    return description


def check_flatbuffers() -> None:
    """Checks that programs can be written.

    Raises:
        UserError: if flatbuffers is missing.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError(_NEEDS_FLATBUFFERS)


def describe(
    exported: export.Exported, loaded: LoadedGenerator, rule: DensifyRule | None, truncation: Truncation
) -> dict[str, Any]:
    """What is needed to call an exported program."""
    positional, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    z, c, *places = positional
    inputs: dict[str, Any] = {"z": z, "c": c}
    kind = "native" if not places else "pointwise" if len(places) == 2 else "nested"
    if kind == "pointwise":
        inputs |= dict(zip("xy", places, strict=True))
    elif kind == "nested":
        inputs["grids"] = places[0]
    label = "None" if c is None else "c"
    return {
        "call": f"jax.export.deserialize(open(file, 'rb').read()).call(z, {label}{_POSITIONS[kind]})",
        "inputs": jax.tree.map(_spec_text, inputs),
        "meanings": _MEANINGS,
        "output": _spec_text(exported.out_avals[0]) + ", about [-1, 1]: images, height, width, channels",
        "trained_image": _trained_image(loaded, kind),
        "rule": rule or default_rule(loaded.generator),
        "truncation": {"psi": truncation.psi, "cutoff": truncation.cutoff},
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
        "source": loaded.source,
        **settings_metadata(loaded.generator.network.settings),
    }


def _spec_text(aval: Any) -> str:
    return f"{aval.dtype}[{', '.join(map(str, aval.shape))}]"


def _trained_image(loaded: LoadedGenerator, kind: str) -> str:
    height, width = loaded.generator.size
    if kind == "native":
        return f"{height} x {width} pixels, the only one"
    places = f"x = arange({width}) / {width}, y = arange({height}) / {height}"
    if kind == "pointwise":
        return f"{places}; n times denser: x = arange({width} * n) / ({width} * n), y likewise"
    return f"{places} in the last grid; inr_gan_jax.inference.stablehlo.plain_grids computes them for a viewport"


def export_generator(
    loaded: LoadedGenerator,
    rule: DensifyRule | None = None,
    truncation: Truncation | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Exports the program from z to images, including its weights.

    Args:
        loaded: the generator.
        rule: of the grids; None for `default_rule`.
        truncation: of the intermediate codes, fixed in the program.
        platforms: to export for.

    Returns:
        The program; `serialize()` returns the bytes of a file, `call` renders [batch, height, width, channels].

    Raises:
        UserError: for a truncation without a mean of w, or a rule that has no effect on the network.
    """
    if truncation is not None and truncation.psi != 1 and loaded.w_avg is None:
        raise UserError(f"{loaded.source} holds no mean of w, so truncation_psi must be 1")
    scope = export.SymbolicScope()
    codes = _code_specs(loaded, scope)
    render = functools.partial(_render, loaded, truncation or Truncation())
    native = loaded.generator.native_viewport
    if not loaded.generator.is_continuous:
        if rule not in (None, native.rule):
            raise UserError(f"{loaded.source} renders its trained image only, so the rule {rule!r} changes nothing")
        grids = loaded.generator.grids(native)
        return _exported(lambda z, c: render(z, c, grids), platforms, *codes)
    if (rule or default_rule(loaded.generator)) == "pointwise":
        sides = [_spec(scope, side) for side in ("width", "height")]
        grids_at = pointwise_grids
        return _exported(lambda z, c, x, y: render(z, c, grids_at(loaded, x, y)), platforms, *codes, *sides)
    specs = _grid_specs(loaded, scope)
    return _exported(lambda z, c, grids: render(z, c, _grids_from(grids)), platforms, *codes, specs)


def plain_grids(loaded: LoadedGenerator, viewport: Viewport) -> list[dict[str, np.ndarray]]:
    """The grids of a viewport as inputs of a program exported with rule `paper` or `all`.

    Raises:
        ValueError: for a viewport with anti-aliasing, which exported programs do not support.
    """
    if viewport.antialias:
        raise ValueError("the viewport has anti-aliasing, expected none: exported programs evaluate points")
    return [_plain(grid, is_first=index == 0) for index, grid in enumerate(_off_native(loaded, viewport))]


def pointwise_grids(loaded: LoadedGenerator, x: Array, y: Array) -> Grids:
    """The grids of rule `pointwise`, computed from positions inside a program.

    Args:
        loaded: the generator.
        x: [width], columns; 0 and 1 are the borders of the trained image.
        y: [height], rows, downwards.

    Returns:
        Every block at every point. Tables use the nearest entry, mirrored beyond their borders.
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


def _render(loaded: LoadedGenerator, truncation: Truncation, z: Array, c: Array | None, grids: Grids) -> Array:
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
    """As `axis_cells` with its default rule, inside a program."""
    cells = jnp.floor(positions * side + _CELL_TOLERANCE).astype(jnp.int32) % (2 * side)
    return AxisCells(lower=jnp.minimum(cells, 2 * side - 1 - cells))


def _off_native(loaded: LoadedGenerator, viewport: Viewport) -> Grids:
    """The grids of a viewport, with the table entries explicit even where they are all in order."""
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
        assert grid.rows is not None, "explicit by now"
        assert grid.columns is not None, "explicit by now"
        arrays |= {"table_rows": np.asarray(grid.rows.lower), "table_columns": np.asarray(grid.columns.lower)}
    return arrays


def _grids_from(inputs: Sequence[Mapping[str, Array]]) -> Grids:
    grids: list[Any] = []
    for arrays in inputs:
        names = ("row_index", "column_index", "row_share", "column_share")
        cells: dict[str, Any] = {name: arrays[name] for name in names if name in arrays}
        grid: Any = BlockGrid(arrays["x"], arrays["y"], **cells)
        if "table_rows" in arrays:
            rows, columns = AxisCells(lower=arrays["table_rows"]), AxisCells(lower=arrays["table_columns"])
            grid = ReleaseGrid(lattice=grid, x=grid.x, y=grid.y, rows=rows, columns=columns)
        grids.append(grid)
    return tuple(grids)


def _grid_specs(loaded: LoadedGenerator, scope: export.SymbolicScope) -> list[dict[str, jax.ShapeDtypeStruct]]:
    """Symbolic sizes: height and width of the image, height_0, width_0, height_1, … of the preceding grids."""
    grids = plain_grids(loaded, loaded.generator.native_viewport)
    names = [f"_{index}" for index in range(len(grids) - 1)] + [""]

    def spec(name: str, array: np.ndarray, suffix: str) -> jax.ShapeDtypeStruct:
        axis = "height" if name in ("y", "row_index", "row_share", "table_rows") else "width"
        return _spec(scope, f"{axis}{suffix}", array.dtype)

    pairs = zip(grids, names, strict=True)
    return [{name: spec(name, array, suffix) for name, array in arrays.items()} for arrays, suffix in pairs]
