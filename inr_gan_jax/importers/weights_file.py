"""Variables of a generator in one portable file, .npz or .safetensors, with its settings as JSON beside them.

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
from safetensors.numpy import save_file

from inr_gan_jax.array_types import Variables
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.paper_inr import PaperNetwork, PaperSettings
from inr_gan_jax.models.release_inr import ReleaseNetwork
from inr_gan_jax.models.release_settings import ReleaseSettings
from inr_gan_jax.models.variable_shapes import generator_shapes

Settings = PaperSettings | ReleaseSettings

_MODELS: Mapping[str, type[Settings]] = {"paper": PaperSettings, "release": ReleaseSettings}
_FORMAT = "inr_gan_jax generator 1"
# The entry of an .npz that takes the place of the metadata of a .safetensors.
_METADATA = "__metadata__"
# What else is kept beside them, such as the running mean of w, is up to the caller.
_COLLECTIONS = ("params", "constants")
_SUFFIXES = (".npz", ".safetensors")


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
    (model,) = [name for name, kind in _MODELS.items() if isinstance(settings, kind)]
    metadata = {"format": _FORMAT, "model": model, "settings": json.dumps(dataclasses.asdict(settings))}
    # The writers take the memory as it lies, whatever the strides.
    arrays = {name: np.asarray(value, order="C") for name, value in _flattened(variables).items()}
    try:
        if path.suffix == ".npz":
            entries: dict[str, Any] = {_METADATA: np.frombuffer(json.dumps(metadata).encode(), np.uint8), **arrays}
            np.savez(path, **entries)
        else:
            save_file(arrays, path, metadata)
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
        metadata, arrays = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except (SafetensorError, zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{path}: not a file of generator weights ({error})") from error
    if metadata.get("format") != _FORMAT or metadata.get("model") not in _MODELS:
        raise UserError(
            f"{path}: holds the format {metadata.get('format')!r} of the model {metadata.get('model')!r}, expected "
            f"{_FORMAT!r} of one of {', '.join(_MODELS)}"
        )
    try:
        settings = _parsed(_MODELS[metadata["model"]], json.loads(metadata["settings"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its settings make no network ({error})") from error
    _check_arrays(path, settings, arrays)
    return settings, _nested(path, arrays)


def network_of(settings: Settings) -> PaperNetwork | ReleaseNetwork:
    """The network of either model."""
    return PaperNetwork(settings) if isinstance(settings, PaperSettings) else ReleaseNetwork(settings)


def _check_arrays(path: Path, settings: Settings, arrays: Mapping[str, np.ndarray]) -> None:
    """Compares the arrays of the network's own collections with what its settings ask for."""
    expected = {name: leaf.shape for name, leaf in _flattened(generator_shapes(network_of(settings))).items()}
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else "none at all"
        if found != shape:
            raise UserError(f"{path}: the array {name!r} should have the shape {shape}, it has {found}")
    for name in arrays:
        if name not in expected and name.split("/")[0] in _COLLECTIONS:
            raise UserError(f"{path}: the array {name!r} has no place in the network of its settings")


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


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _flattened(variables: Variables, prefix: str = "") -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for key, value in variables.items():
        if isinstance(value, Mapping):
            arrays |= _flattened(value, f"{prefix}{key}/")
        else:
            arrays[f"{prefix}{key}"] = value
    return arrays


def _nested(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = name.split("/")
        place = variables
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"{path}: {name!r} lies below another array")
        if leaf in place:
            raise UserError(f"{path}: {name!r} lies above other arrays")
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
            raise ValueError(f"{unknown[0]!r} is no setting")
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
        raise ValueError(f"{value!r} stands where {kind} is expected")
    return value
