"""What a checkpoint says about itself, so that damage to any part of it is noticed when it is read.

The record, a file of JSON beside the items that orbax writes, holds a digest of every file and a checksum of every
array. The first finds damage on disk before a library stumbles over it and says where it is. The second goes from
device to device: it finds bits that changed on the way to the disk or back.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from inr_gan_jax.checksum import array_checksums, describe, named_leaves
from inr_gan_jax.errors import UserError
from inr_gan_jax.storage import files_below

# In the metadata that orbax keeps of every checkpoint: tells one whose record is gone from one that never had any.
MARK = {"checksums": True}

_FILE = "checksums.json"
_PIECE_BYTES = 2**20
# Changed by orbax after the record is made, and not needed to restore.
_ORBAX_METADATA = "_CHECKPOINT_METADATA"


class DamagedError(Exception):
    """A checkpoint is not what was saved; the message is a clause that says how."""


@dataclasses.dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint must hold.

    Attributes:
        step: its number.
        arrays: for each array its `dtype`, `shape` and `sums`, as `array_checksums` gives them.
        metric: value of the metric by its name; empty where none was measured.
        files: SHA-256 of each file by its path below the checkpoint; empty until they are written.
    """

    step: int
    arrays: Mapping[str, Mapping[str, Any]]
    metric: Mapping[str, float] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def write(self, path: epath.Path) -> None:
        """Writes the record into a checkpoint whose other files are complete.

        Args:
            path: of the checkpoint.
        """
        found = sorted(file for file in files_below(path) if file.name != _ORBAX_METADATA)
        digests = {file.relative_to(path).as_posix(): _file_digest(file) for file in found}
        fields = dataclasses.asdict(dataclasses.replace(self, files=digests))
        (path / _FILE).write_text(json.dumps({"record": fields, "sha256": _digest(fields)}))

    def check_fits(self, target: Any, path: epath.Path, part: bool = False) -> None:
        """Checks that a target has the arrays that were saved, with their shapes and types.

        Args:
            target: pytree of arrays or `jax.ShapeDtypeStruct`.
            path: of the checkpoint, for the message.
            part: whether the target may lack arrays that were saved.

        Raises:
            UserError: if they differ: the checkpoint is sound, but of something else.
        """
        wanted = {name: describe(leaf) for name, leaf in named_leaves(target).items()}
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
            folder: only files in this folder of the checkpoint are checked; all if empty.

        Raises:
            DamagedError: if one is missing, cannot be read or differs from what was written.
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

    def check_arrays(self, arrays: Any) -> None:
        """Checks the bits of restored arrays.

        Raises:
            DamagedError: if some differ from those that were saved.
        """
        wrong = [name for name, found in array_checksums(arrays).items() if found != self.arrays[name]]
        if wrong:
            others = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise DamagedError(f"array {wrong[0]}{others} does not have its checksum")


def read_record(path: epath.Path) -> CheckpointRecord | None:
    """Reads the record of a checkpoint.

    Args:
        path: of the checkpoint.

    Returns:
        The record, or None for a checkpoint of an earlier version, which has none.

    Raises:
        DamagedError: if the record is missing, cannot be read, is not what was written or is of another step.
    """
    try:
        content = json.loads((path / _FILE).read_bytes())
        fields, expected = content["record"], content["sha256"]
    except FileNotFoundError as error:
        if _had_record(path):
            raise DamagedError(f"{_FILE} is missing") from error
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{_FILE} cannot be read") from error
    if _digest(fields) != expected:
        raise DamagedError(f"{_FILE} is not what was written")
    record = CheckpointRecord(**fields)
    if str(record.step) != path.name:
        raise DamagedError(f"it is that of step {record.step}")
    return record


def _had_record(path: epath.Path) -> bool:
    """Whether a record was written with this checkpoint."""
    try:
        metadata = json.loads((path / _ORBAX_METADATA).read_bytes())
        return metadata.get("custom_metadata") == MARK
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError) as error:
        raise DamagedError(f"{_FILE} is missing and {_ORBAX_METADATA} cannot be read") from error


def _digest(fields: Any) -> str:
    """SHA-256 of what JSON can hold, however it is laid out."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _file_digest(file: epath.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _in_words(description: Mapping[str, Any] | None) -> str:
    return f"{description['dtype']} {tuple(description['shape'])}" if description else "missing"
