"""The record of a checkpoint, with which damage to any part of it is noticed when it is read.

It is a JSON file next to the items that orbax writes, with the SHA-256 of every file, because orbax restores flipped
bytes of array data silently, and with type and shape of every array, to tell another network from damage.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from inr_gan_jax.errors import UserError
from inr_gan_jax.storage import files_below

_FILE = "checksums.json"
_PIECE_BYTES = 2**20
# Changed by orbax after the record is written, and not needed to restore.
_ORBAX_METADATA = "_CHECKPOINT_METADATA"


class DamagedError(Exception):
    """A checkpoint differs from what was saved; the message is a clause that says how."""


@dataclasses.dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint must contain.

    Attributes:
        step: its number.
        arrays: `dtype` and `shape` of each array, by its path joined with slashes; see `describe_arrays`.
        metric: value of the metric by its name; empty if none was measured.
        files: SHA-256 of each file by its path below the checkpoint; empty until they are written.
    """

    step: int
    arrays: Mapping[str, Mapping[str, Any]]
    metric: Mapping[str, float] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def write(self, path: epath.Path) -> None:
        """Adds the record to a checkpoint whose other files are complete.

        Args:
            path: of the checkpoint.
        """
        found = sorted(file for file in files_below(path) if file.name != _ORBAX_METADATA)
        digests = {file.relative_to(path).as_posix(): _file_digest(file) for file in found}
        fields = dataclasses.asdict(dataclasses.replace(self, files=digests))
        (path / _FILE).write_text(json.dumps({"record": fields, "sha256": _digest(fields)}))

    def check_fits(self, target: Any, path: epath.Path, part: bool = False) -> None:
        """Checks that a target has the saved arrays, with their shapes and types.

        Args:
            target: pytree of arrays or `jax.ShapeDtypeStruct`.
            path: of the checkpoint, for the message.
            part: whether the target may lack saved arrays.

        Raises:
            UserError: if they differ: the checkpoint is sound, but of another network.
        """
        wanted = describe_arrays(target)
        for name in [*wanted, *([] if part else self.arrays)]:
            saved, expected = self.arrays.get(name), wanted.get(name)
            if saved is None or expected is None or any(saved[key] != value for key, value in expected.items()):
                raise UserError(
                    f"checkpoint {path} is of another network or version: {name} is {_in_words(saved)} there and "
                    f"{_in_words(expected)} here"
                )

    def check_files(self, path: epath.Path, folder: str = "") -> None:
        """Checks the files on disk.

        Args:
            path: of the checkpoint.
            folder: of the checkpoint, to check only the files in it; all if empty.

        Raises:
            DamagedError: if a file is missing, cannot be read or differs from what was written.
        """
        for name, expected in self.files.items():
            if not name.startswith(folder):
                continue
            try:
                if _file_digest(path / name) != expected:
                    raise DamagedError(f"{name} is not what was written")
            except FileNotFoundError as error:
                raise DamagedError(f"{name} is missing") from error
            except OSError as error:
                raise DamagedError(f"{name} cannot be read: {error.strerror}") from error


def read_record(path: epath.Path) -> CheckpointRecord:
    """Reads the record of a checkpoint.

    Args:
        path: of the checkpoint.

    Raises:
        DamagedError: if the record is missing, cannot be read, is not what was written or is of another step.
    """
    try:
        content = json.loads((path / _FILE).read_bytes())
        fields, expected = content["record"], content["sha256"]
    except FileNotFoundError as error:
        raise DamagedError(f"{_FILE} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{_FILE} cannot be read") from error
    if _digest(fields) != expected:
        raise DamagedError(f"{_FILE} is not what was written")
    record = CheckpointRecord(**fields)
    if str(record.step) != path.name:
        raise DamagedError(f"it is that of step {record.step}")
    return record


def describe_arrays(tree: Any) -> dict[str, dict[str, Any]]:
    """Type and shape of each array of a pytree (or `jax.ShapeDtypeStruct`), in JSON types.

    Keys are paths such as `ema_params/layer/kernel`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}
        for path, leaf in leaves
    }


def _digest(fields: Any) -> str:
    """SHA-256 of a JSON value, independent of its formatting."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _file_digest(file: epath.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _in_words(description: Mapping[str, Any] | None) -> str:
    return f"{description['dtype']} {tuple(description['shape'])}" if description else "missing"
