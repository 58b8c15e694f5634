"""A generator as StableHLO: z, columns and rows in, pictures out, for any batch and any size, without this package.

`jax.export` writes programs for several platforms into one file; `jax.export.deserialize` reads it back. What the
program takes depends on the densification rule:

- `pointwise`: `(z, c, x, y)`, where x [width] and y [height] are the positions of columns and rows; the trained
  picture covers [0, 1) both ways, downwards and to the right. Everything else is computed inside.
- `paper` and `all`: `(z, c, grids)`, the grids of the blocks as `Generator.grid_arrays` returns them for a viewport:
  one mapping of arrays per grid, coarse to fine.
- a network that draws its trained picture only: `(z, c)`.

c is None for an unconditional generator.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import Truncation
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Grids
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.ops.rules import DensifyRule

PLATFORMS = ("cpu", "cuda", "tpu")


def export_generator(
    loaded: LoadedGenerator,
    rule: DensifyRule | None = None,
    truncation: Truncation | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Exports the whole way from z to pictures, its weights inside.

    Args:
        loaded: the generator.
        rule: densification rule; None for the default of the network.
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
    render = functools.partial(_render, loaded, truncation or Truncation())
    native = loaded.generator.native_viewport
    if not loaded.generator.is_continuous:
        if rule not in (None, native.rule):
            raise UserError(f"{loaded.source} draws its trained picture only, so the rule {rule!r} changes nothing")
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
    """Symbolic sizes: height and width of the picture, height_0, width_0, height_1, … of the grids before."""
    grids = loaded.generator.grid_arrays(loaded.generator.native_viewport)
    names = [f"_{index}" for index in range(len(grids) - 1)] + [""]

    def spec(name: str, array: np.ndarray, suffix: str) -> jax.ShapeDtypeStruct:
        axis = "height" if name in ("y", "row_index", "row_share", "table_rows") else "width"
        return _spec(scope, f"{axis}{suffix}", array.dtype)

    pairs = zip(grids, names, strict=True)
    return [{name: spec(name, array, suffix) for name, array in arrays.items()} for arrays, suffix in pairs]
