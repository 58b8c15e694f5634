"""A generator as StableHLO: from z, columns and rows to images, of any batch and size, without this package.

`jax.export` writes programs for several platforms into one file; `jax.export.deserialize` reads it back. What the
program takes depends on the densification rule:

- `pointwise`: `(z, c, x, y)`, where x [width] and y [height] are the positions of columns and rows; the trained
  image covers [0, 1) in both directions, downwards and to the right. Everything else is computed inside.
- `paper` and `all`: `(z, c, grids)`, the grids of the blocks as `Generator.grid_arrays` returns them for a
  viewport: one mapping of arrays per grid, coarse to fine.
- a network that renders only its trained image: `(z, c)`.

c is None for an unconditional generator.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import settings_metadata
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Grids
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.ops.rules import DensifyRule
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


def save_stablehlo(
    path: Path, loaded: LoadedGenerator, rule: DensifyRule | None = None, truncation: Truncation | None = None
) -> dict[str, Any]:
    """Writes a generator as StableHLO for CPU, CUDA and TPU, and a .json next to it that describes the call.

    Args:
        path: of the program.
        loaded: the generator.
        rule: densification rule; None for the default of the network.
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
        "rule": rule or loaded.generator.default_rule,
        "truncation": {"psi": truncation.psi, "cutoff": truncation.cutoff},
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
        "source": loaded.source,
        **settings_metadata(loaded.generator.settings),
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
    return f"{places} in the last grid; Generator.grid_arrays returns them for a viewport"


def export_generator(
    loaded: LoadedGenerator,
    rule: DensifyRule | None = None,
    truncation: Truncation | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Exports the program from z to images, including its weights.

    Args:
        loaded: the generator.
        rule: densification rule; None for the default of the network.
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
    if (rule or loaded.generator.default_rule) == "pointwise":
        sides = [_spec(scope, side) for side in ("width", "height")]
        grids_at = loaded.generator.pointwise_grids
        return _exported(lambda z, c, x, y: render(z, c, grids_at(x, y)), platforms, *codes, *sides)
    specs, from_arrays = _grid_specs(loaded, scope), loaded.generator.grids_from_arrays
    return _exported(lambda z, c, grids: render(z, c, from_arrays(grids)), platforms, *codes, specs)


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


def _grid_specs(loaded: LoadedGenerator, scope: export.SymbolicScope) -> list[dict[str, jax.ShapeDtypeStruct]]:
    """Symbolic sizes: height and width of the image, height_0, width_0, height_1, … of the preceding grids."""
    grids = loaded.generator.grid_arrays(loaded.generator.native_viewport)
    names = [f"_{index}" for index in range(len(grids) - 1)] + [""]

    def spec(name: str, array: np.ndarray, suffix: str) -> jax.ShapeDtypeStruct:
        axis = "height" if name in ("y", "row_index", "row_share", "table_rows") else "width"
        return _spec(scope, f"{axis}{suffix}", array.dtype)

    pairs = zip(grids, names, strict=True)
    return [{name: spec(name, array, suffix) for name, array in arrays.items()} for arrays, suffix in pairs]
