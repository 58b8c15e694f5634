"""Weights of feature networks from files that the user has: checked against a table, and nothing in them is executed.

Read are state_dicts of torch.save (.pth, .pt; the zip format and the older one), .npz and .safetensors. Names and
layouts are those of PyTorch in all of them: kernels [out, in, height, width], matrices [out, in].
"""

import contextlib
import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from inr_gan_jax.array_types import Params
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.safe_pickle import read_torch_state_dict

Shapes = Mapping[str, tuple[int, ...]]

_NPZ_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, KeyError, EOFError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """What was read.

    Attributes:
        path: of the file.
        sha256: hexadecimal digest of the file.
        arrays: name -> array, float32, all those asked for and no other.
    """

    path: Path
    sha256: str
    arrays: dict[str, np.ndarray]


def read_weights(path: str | os.PathLike[str], shapes: Shapes, source: str) -> WeightsFile:
    """Reads the arrays of a table from a file, whatever else the file holds.

    Args:
        path: ends in .npz or .safetensors, or is a file of torch.save.
        shapes: name -> shape of every array needed.
        source: what the file should be and where the field gets it, for the message when it is not there.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile, or an array is not as the table says.
    """
    path = Path(path).expanduser()
    sha256 = file_sha256(path, source)
    return WeightsFile(path, sha256, checked_arrays(path, _read_arrays(path, shapes), shapes, source))


def array_names(path: str | os.PathLike[str], source: str) -> frozenset[str]:
    """The names of the arrays in a small file of any of the formats.

    Raises:
        UserError: as `read_weights`.
    """
    path = Path(path).expanduser()
    file_sha256(path, source)
    with _explained(path):
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return frozenset(archive.files)
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                return frozenset(file.keys())
    return frozenset(read_torch_state_dict(path))


def file_sha256(path: Path, source: str) -> str:
    """Hexadecimal digest of a file of weights.

    Raises:
        UserError: if the file is not there or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist, expected {source}")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def checked_arrays(path: Path, arrays: Mapping[str, np.ndarray], shapes: Shapes, source: str) -> dict[str, np.ndarray]:
    """The arrays of the table, as float32.

    Raises:
        UserError: naming the first array that is missing, of another shape, no float or not finite.
    """
    result = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise UserError(f"{path}: has no array {name!r}, expected {source}")
        array = arrays[name]
        _check_shape(path, name, array.shape, shape)
        # The kind of bfloat16, which NumPy does not know, is V.
        if array.dtype.kind not in "fV":
            raise UserError(f"{path}: the array {name!r} has the type {array.dtype}, expected floats")
        result[name] = np.asarray(array, np.float32)
        if not np.isfinite(result[name]).all():
            raise UserError(f"{path}: the array {name!r} holds numbers that are not finite")
    return result


def channels_last(arrays: Mapping[str, np.ndarray]) -> Params:
    """Lays PyTorch's weights out for channels-last arrays.

    Args:
        arrays: `<layer>.weight`, [out, in, height, width] or [out, in], and `<layer>.bias`, [out].

    Returns:
        Layer -> {"kernel": [height, width, in, out] or [in, out], "bias": [out]}, contiguous.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition(".")
        entries = layers.setdefault(layer, {})
        if kind == "bias":
            entries["bias"] = array
        else:
            entries["kernel"] = np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)
    return layers


def _check_shape(path: Path, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(found) != expected:
        raise UserError(f"{path}: the array {name!r} has the shape {tuple(found)}, expected {expected}")


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what a damaged .npz or .safetensors makes the libraries raise into one sentence."""
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error
    except (SafetensorError, *_NPZ_ERRORS) as error:
        raise UserError(f"{path}: not a {path.suffix} file of arrays ({error})") from error


def _read_arrays(path: Path, shapes: Shapes) -> dict[str, np.ndarray]:
    with _explained(path):
        if path.suffix == ".npz":
            return _read_npz(path, shapes)
        if path.suffix == ".safetensors":
            return _read_safetensors(path, shapes)
    return read_torch_state_dict(path)


def _read_npz(path: Path, shapes: Shapes) -> dict[str, np.ndarray]:
    # Opened here: of a damaged archive, NumPy would leave the file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = [name for name in shapes if name in archive.files]
        for name in names:
            # Before NumPy allocates what the header claims.
            _check_shape(path, name, _npz_shape(archive.zip, name), shapes[name])
        return {name: archive[name] for name in names}


def _npz_shape(archive: Any, name: str) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(member)[0]


def _read_safetensors(path: Path, shapes: Shapes) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        names = [name for name in file.keys() if name in shapes]  # noqa: SIM118 - no iterator of its own
        for name in names:
            _check_shape(path, name, tuple(file.get_slice(name).get_shape()), shapes[name])
        return {name: file.get_tensor(name) for name in names}
