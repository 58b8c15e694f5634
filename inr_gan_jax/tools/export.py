"""A generator, or one of its images, as files for others.

    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --weights=digits.safetensors
    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --stablehlo=digits.stablehlo --rule=pointwise
    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --inr=image.inr.safetensors --seeds=3

--weights: settings and variables, which every tool here takes as --checkpoint. --stablehlo: a program from z to
pictures of any size that needs JAX alone; how to call it stands in the .json beside it. --inr: one image that draws
itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    chosen_seeds,
    chosen_truncation,
    define_checkpoint_flag,
    define_output_flag,
    define_seed_flags,
    load_checkpoint,
    output_folder,
    save_record,
)
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.inr_file import SUFFIX, save_inr
from inr_gan_jax.inference.latents import Truncation, draw_modulations, take
from inr_gan_jax.ops.rules import DensifyRule

if TYPE_CHECKING:
    from jax import export

    from inr_gan_jax.inference.loading import LoadedGenerator

_WEIGHTS_SUFFIXES = (".safetensors", ".npz")
_NEEDS_FLATBUFFERS = (
    "writing StableHLO needs the package flatbuffers: pip install 'inr_gan_jax[export]' (or pip install flatbuffers)"
)
_MEANINGS = {
    "z": "latent codes, standard normal",
    "c": "labels, one-hot",
    "x": "positions of the columns; 0 and 1 are the borders of the trained picture, to the right",
    "y": "positions of the rows; 0 and 1 are the borders of the trained picture, downwards",
    "row_index": "row of the grid before whose features each row takes",
    "column_index": "column of the grid before whose features each column takes",
    "row_share": "share of the row behind that one, in [0, 1)",
    "column_share": "share of the column behind that one, in [0, 1)",
    "table_rows": "row of the learned tables that each row takes",
    "table_columns": "column of the learned tables that each column takes",
}
_POSITIONS = {"pointwise": ", x, y", "native": "", "nested": ", grids"}


def save_generator(path: str | os.PathLike[str], loaded: LoadedGenerator) -> None:
    """Writes a generator, with its mean of w where it has one, so that `load_generator` reads it back.

    Args:
        path: ends in .safetensors or .npz.
        loaded: the generator.

    Raises:
        UserError: if the path ends otherwise or cannot be written.
    """
    from inr_gan_jax.importers.weights_file import save_weights

    variables: dict[str, Any] = {"params": loaded.variables["params"], "constants": loaded.variables["constants"]}
    if loaded.w_avg is not None:
        variables["statistics"] = {"w_avg": loaded.w_avg}
    save_weights(path, loaded.generator.settings, variables)


def save_stablehlo(
    path: Path, loaded: LoadedGenerator, rule: DensifyRule | None = None, truncation: Truncation | None = None
) -> dict[str, Any]:
    """Writes a generator as StableHLO for CPU, CUDA and TPU, and beside it, as .json, how to call it.

    Args:
        path: of the program.
        loaded: the generator.
        rule: of the grids; None for the one that suits the network.
        truncation: fixed in the program.

    Returns:
        What the .json holds.

    Raises:
        UserError: if the files cannot be written, the package for it is missing, or the wish does not fit the network.
    """
    from inr_gan_jax.inference.stablehlo import export_generator

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


def describe(
    exported: export.Exported, loaded: LoadedGenerator, rule: DensifyRule | None, truncation: Truncation
) -> dict[str, Any]:
    """What a person needs to call an exported program."""
    import jax

    from inr_gan_jax.importers.weights_file import settings_metadata

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
        "inputs": jax.tree.map(_written, inputs),
        "meanings": _MEANINGS,
        "output": _written(exported.out_avals[0]) + ", about [-1, 1]: images, height, width, channels",
        "trained_picture": _trained_picture(loaded, kind),
        "rule": rule or loaded.generator.default_rule,
        "truncation": {"psi": truncation.psi, "cutoff": truncation.cutoff},
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
        "source": loaded.source,
        **settings_metadata(loaded.generator.settings),
    }


def _written(aval: Any) -> str:
    return f"{aval.dtype}[{', '.join(map(str, aval.shape))}]"


def _trained_picture(loaded: LoadedGenerator, kind: str) -> str:
    height, width = loaded.generator.size
    if kind == "native":
        return f"{height} x {width} pixels, the only one"
    places = f"x = arange({width}) / {width}, y = arange({height}) / {height}"
    if kind == "pointwise":
        return f"{places}; n times denser: x = arange({width} * n) / ({width} * n), y likewise"
    return f"{places} in the last grid; Generator.grid_arrays returns them for a viewport"


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    weights, stablehlo, inr = _checked_paths()
    loaded = load_checkpoint()
    folder = output_folder(flags.FLAGS.output)
    for path in filter(None, (weights, stablehlo, inr)):
        output_folder(path.parent)
    record: dict[str, Any] = {}
    if weights:
        save_generator(weights, loaded)
        record["weights"] = {"file": str(weights), "bytes": weights.stat().st_size}
    if inr:
        modulations = draw_modulations(loaded, chosen_seeds(), flags.FLAGS.class_index, chosen_truncation())
        save_inr(inr, loaded, take(modulations, 0))
        record["inr"] = {"file": str(inr), "bytes": inr.stat().st_size}
    if stablehlo:
        rule = None if flags.FLAGS.rule == "auto" else flags.FLAGS.rule
        description = save_stablehlo(stablehlo, loaded, rule, chosen_truncation())
        record["stablehlo"] = {"file": str(stablehlo), **description}
    save_record(folder, "export", loaded, record)
    for name, entry in record.items():
        print(f"{name}: {entry['file']}, {entry['bytes']:,} bytes")


def _checked_paths() -> list[Path | None]:
    """The files to write, all of them possible as far as that can be told before anything is loaded."""
    values = [flags.FLAGS[name].value for name in ("weights", "stablehlo", "inr")]
    paths = [Path(value).expanduser() if value else None for value in values]
    if not any(paths):
        raise UserError("nothing to write, expected --weights=FILE, --stablehlo=FILE or --inr=FILE")
    weights, stablehlo, inr = paths
    if weights and weights.suffix not in _WEIGHTS_SUFFIXES:
        raise UserError(f"--weights is {weights}, expected it to end in {' or '.join(_WEIGHTS_SUFFIXES)}")
    if inr and not inr.name.endswith(SUFFIX):
        raise UserError(f"--inr is {inr}, expected it to end in {SUFFIX}")
    if inr and len(chosen_seeds()) != 1:
        raise UserError(f"--inr is one image, but --seeds has {len(chosen_seeds())}")
    if stablehlo:
        try:
            import flatbuffers  # noqa: F401
        except ImportError as error:
            raise UserError(_NEEDS_FLATBUFFERS) from error
    return paths


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/export")
    flags.DEFINE_string("weights", None, "File to write the generator to, .safetensors or .npz.")
    flags.DEFINE_string("stablehlo", None, "File to write a program to, for CPU, CUDA and TPU.")
    flags.DEFINE_string("inr", None, f"File to write one image to, {SUFFIX}.")
    define_seed_flags("0")
    rules = ["auto", *typing.get_args(DensifyRule)]
    flags.DEFINE_enum("rule", "auto", rules, "Of the program: how a multi-scale network is drawn denser.")


if __name__ == "__main__":
    define_flags()
    run(main)
