"""Latent codes or modulations of named images in one file, .safetensors or .npz; neither format can hold code.

`project` keeps its results in this form; with the generator's checkpoint they can be rendered in any viewport.
"""

import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import write_arrays
from inr_gan_jax.inference.choices import CODE_SPACES, WEIGHTS_SUFFIXES, CodeSpace
from inr_gan_jax.inference.latents import modulations_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Modulation

_FORMAT = "inr_gan_jax codes 1"
# The entry of an .npz that stands for the metadata of a .safetensors.
_METADATA = "__metadata__"
_WS = "ws"


@dataclasses.dataclass(frozen=True)
class Codes:
    """Images of a generator as codes.

    Attributes:
        space: that was searched.
        names: of the images.
        modulations: the images as INRs, with a leading axis [count].
        ws: [count, num_ws, w_dim]; None in the space `modulation`.
    """

    space: CodeSpace
    names: tuple[str, ...]
    modulations: Modulation
    ws: Array | None


def save_codes(path: str | os.PathLike[str], codes: Codes) -> None:
    """Writes codes; modulations only where there are no ws that give them.

    Raises:
        UserError: if the path does not end in .safetensors or .npz, or cannot be written.
    """
    path = _checked(path)
    arrays = named_arrays(codes.modulations) if codes.ws is None else {_WS: np.asarray(codes.ws, order="C")}
    metadata = {"format": _FORMAT, "space": codes.space, "names": json.dumps(codes.names)}
    write_arrays(path, metadata, arrays)


def load_codes(path: str | os.PathLike[str], loaded: LoadedGenerator) -> Codes:
    """Reads what `save_codes` wrote.

    Args:
        path: ends in .safetensors or .npz.
        loaded: the generator of the codes.

    Raises:
        UserError: if the file is missing, damaged, of another kind or of another generator.
    """
    path = _checked(path)
    try:
        metadata, arrays = _read(path)
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"the format is {metadata.get('format')!r}, expected {_FORMAT!r}")
        space, names = metadata["space"], tuple(json.loads(metadata["names"]))
        if space not in CODE_SPACES:
            raise ValueError(f"the space is {space!r}, expected one of {', '.join(CODE_SPACES)}")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or type(error).__name__})") from error
    except (SafetensorError, zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path} is not a file of codes ({error})") from error
    generator = loaded.generator
    if space != "modulation":
        expected = {_WS: (len(names), generator.num_ws, generator.w_dim)}
        _check_arrays(path, arrays, expected, loaded)
        ws = jnp.asarray(arrays[_WS])
        return Codes(space, names, modulations_of(loaded, ws), ws)
    shapes = jax.eval_shape(
        lambda ws: modulations_of(loaded, ws), jnp.zeros((len(names), generator.num_ws, generator.w_dim))
    )
    expected = {name: leaf.shape for name, leaf in _named(shapes).items()}
    _check_arrays(path, arrays, expected, loaded)
    leaves = [jnp.asarray(arrays[name]) for name in expected]
    return Codes(space, names, jax.tree.unflatten(jax.tree.structure(shapes), leaves), None)


def named_arrays(modulations: Modulation) -> dict[str, np.ndarray]:
    """The arrays of a modulation by their paths, such as `1/layers/0/left`."""
    # The writers copy memory regardless of the strides.
    return {name: np.asarray(leaf, order="C") for name, leaf in _named(modulations).items()}


def _named(modulations: Modulation) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(modulations)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _check_arrays(
    path: Path, arrays: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]], loaded: LoadedGenerator
) -> None:
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else "none"
        if found != shape:
            raise UserError(
                f"{path} does not fit {loaded.source}: its array {name!r} has the shape {found}, expected {shape}"
            )


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path).expanduser()
    if path.suffix not in WEIGHTS_SUFFIXES:
        raise UserError(f"{path} ends in {path.suffix!r}, expected {' or '.join(WEIGHTS_SUFFIXES)}")
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    if path.suffix == ".npz":
        # Opened here: NumPy would leave the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            metadata = json.loads(archive[_METADATA].tobytes())
            return metadata, {name: archive[name] for name in archive.files if name != _METADATA}
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
