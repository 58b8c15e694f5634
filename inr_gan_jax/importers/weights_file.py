"""Variables of a generator in one portable file, .npz or .safetensors, with its settings as JSON.

Names of the arrays are the paths of the variables joined by slashes. Neither format can hold code.
"""

import dataclasses
import json
import os
import types
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from inr_gan_jax.array_types import Variables
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.generator import MODELS, Settings, model_name
from inr_gan_jax.storage import whole_file

_FORMAT = "inr_gan_jax generator 1"
# The entry of an .npz that stands in for the metadata of a .safetensors.
_METADATA = "__metadata__"
# Callers may store more, such as the running mean of w.
_COLLECTIONS = ("params", "constants")
_SUFFIXES = (".npz", ".safetensors")
# Otherwise a damaged number in the settings could ask for a grid that exceeds memory.
_MAX_SIDE = 2**16


def save_weights(path: str | os.PathLike[str], settings: Settings, variables: Variables) -> None:
    """Writes the variables of a generator.

    Args:
        path: ends in .npz or .safetensors.
        settings: of the generator.
        variables: nested mappings of arrays; keys are strings without slashes.

    Raises:
        UserError: if the path ends otherwise or cannot be written.
    """
    path = _checked(path)
    metadata = {"format": _FORMAT, **settings_metadata(settings)}
    # The writers ignore strides.
    arrays = {name: np.asarray(value, order="C") for name, value in flattened(variables).items()}
    write_arrays(path, metadata, arrays)


def write_arrays(path: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays and metadata.

    Args:
        path: ends in .npz or .safetensors.
        metadata: stored with the arrays.
        arrays: by name, contiguous.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        if path.suffix == ".npz":
            entries: dict[str, Any] = {_METADATA: np.frombuffer(json.dumps(metadata).encode(), np.uint8), **arrays}
            with whole_file(path) as file:
                np.savez(file, **entries)
        else:
            # Not its `save_file`, whose files nobody but their owner may read.
            with whole_file(path) as file:
                file.write(save(dict(arrays), dict(metadata)))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or type(error).__name__})") from error


def load_weights(path: str | os.PathLike[str]) -> tuple[Settings, dict[str, Any]]:
    """Reads what `save_weights` wrote.

    Args:
        path: ends in .npz or .safetensors.

    Returns:
        The settings, and the variables as nested dicts of NumPy arrays.

    Raises:
        UserError: if the file is missing, damaged or of another kind.
    """
    path = _checked(path)
    try:
        metadata, arrays = _read_npz(path) if path.suffix == ".npz" else read_safetensors(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except (SafetensorError, zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path}: not a file of generator weights ({error})") from error
    settings = read_settings(path, metadata, _FORMAT)
    expected = flattened(generator_of(settings).variable_shapes)
    check_arrays(path, expected, {name: leaf for name, leaf in arrays.items() if name.split("/")[0] in _COLLECTIONS})
    return settings, nested(path, arrays)


def settings_metadata(settings: Settings) -> dict[str, str]:
    """Settings as the metadata of a file: the name of the model, and JSON."""
    return {"model": model_name(settings), "settings": json.dumps(dataclasses.asdict(settings))}


def read_settings(path: Path, metadata: Mapping[str, str], file_format: str) -> Settings:
    """Reads what `settings_metadata` wrote.

    Args:
        path: of the file, for messages.
        metadata: of the file.
        file_format: what its entry `format` has to be.

    Raises:
        UserError: if the file is of another format or model, or its settings are invalid.
    """
    if metadata.get("format") != file_format or metadata.get("model") not in MODELS:
        raise UserError(
            f"{path}: holds the format {metadata.get('format')!r} of the model {metadata.get('model')!r}, expected "
            f"{file_format!r} of one of {', '.join(MODELS)}"
        )
    try:
        settings = _parsed(MODELS[metadata["model"]], json.loads(metadata["settings"]))
        size = max(settings.native_viewport.height, settings.native_viewport.width)
        if size > _MAX_SIDE:
            raise ValueError(f"its pictures have a side of {size} pixels, expected at most {_MAX_SIDE}")
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its settings are invalid ({error})") from error
    return settings


def check_arrays(path: Path, expected: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Checks the arrays of a file against its settings.

    Args:
        path: of the file, for messages.
        expected: name -> anything with a shape.
        arrays: name -> array.

    Raises:
        UserError: naming an array that is missing, surplus, of another shape, or of no floating-point numbers.
    """
    for name, leaf in expected.items():
        found = arrays[name].shape if name in arrays else "none at all"
        if found != leaf.shape:
            raise UserError(f"{path}: the array {name!r} has shape {found}, expected {leaf.shape}")
    for name, array in arrays.items():
        if name not in expected:
            raise UserError(f"{path}: the array {name!r} does not belong to the network of its settings")
        if array.dtype.kind != "f":
            raise UserError(f"{path}: the array {name!r} holds {array.dtype}, expected floating-point numbers")


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{path}: ends in {path.suffix!r}, expected {' or '.join(_SUFFIXES)}")
    return path


def _read_npz(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    # Opened here: of a damaged archive, NumPy would leave the file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        metadata = json.loads(archive[_METADATA].tobytes())
        return metadata, {name: archive[name] for name in archive.files if name != _METADATA}


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a file; raises `OSError` or `SafetensorError`."""
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def flattened(variables: Variables, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, the keys of a path joined by slashes."""
    arrays: dict[str, Any] = {}
    for key, value in variables.items():
        if isinstance(value, Mapping):
            arrays |= flattened(value, f"{prefix}{key}/")
        else:
            arrays[f"{prefix}{key}"] = value
    return arrays


def nested(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `flattened`.

    Raises:
        UserError: if two names do not fit into one tree; `path` names the file.
    """
    variables: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = name.split("/")
        place = variables
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"{path}: {name!r} is nested below another array")
        if leaf in place:
            raise UserError(f"{path}: {name!r} is also the parent of other arrays")
        place[leaf] = array
    return variables


def _parsed(kind: Any, value: Any) -> Any:
    """Turns parsed JSON into dataclasses and tuples, as the annotations say.

    Raises:
        ValueError: if the value does not have the annotated type.
    """
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}")
        return typing.cast(type, kind)(**{name: _parsed(hints[name], item) for name, item in value.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_parsed(item_kind, item) for item_kind, item in zip(kinds, value, strict=True))
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = [argument for argument in arguments if argument is not type(None)]
        return _parsed(kind, value)
    # Closed choices are checked by the settings themselves.
    allowed = str if origin is typing.Literal else (int, float) if kind is float else kind
    if (
        not isinstance(allowed, type | tuple)
        or not isinstance(value, allowed)
        or (type(value) is bool) != (kind is bool)
    ):
        raise ValueError(f"got {value!r}, expected {kind}")
    return value
