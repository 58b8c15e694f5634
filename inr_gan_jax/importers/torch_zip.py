"""The zip container that torch.save writes since PyTorch 1.6, read with the zipfile module."""

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import CheckpointFormatError, shown
from inr_gan_jax.importers.restricted_unpickler import Budget, Globals, Stream, load
from inr_gan_jax.importers.torch_records import elements, persistent_loader

ZIP_MAGIC = b"PK\3\4"
# For a state_dict of ten thousand tensors it is smaller.
MAX_DIRECTORY_BYTES = 8 * 2**20

# What zipfile raises on damaged archives.
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, LookupError, EOFError, struct.error)


def decode_zip(path: str | os.PathLike[str], data: memoryview, allowed: Globals) -> Any:
    """Decodes a file that torch.save wrote in zip format.

    Args:
        path: Of the file.
        data: Its bytes.
        allowed: Permitted globals of the stored object.

    Raises:
        CheckpointFormatError: The archive is damaged, compressed, or lacks a member that it needs.
    """
    with open_zip(path, data) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointFormatError(f"the zip archive holds {len(pickles)} data.pkl instead of one")
        folder = pickles[0].removesuffix("data.pkl")
        entries = {entry.filename.removeprefix(folder): entry for entry in archive.infolist()}
        bytes_left = len(data)

        def read(name: str) -> bytes:
            nonlocal bytes_left
            entry = entries.get(name)
            if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise CheckpointFormatError(f"the zip member {shown(name)} is missing, compressed or encrypted")
            bytes_left -= entry.file_size
            if bytes_left < 0:
                raise CheckpointFormatError(f"the zip member {shown(name)} claims {entry.file_size} bytes, too many")
            return archive.read(entry)

        def find(key: str, dtype: np.dtype, numel: int) -> np.ndarray:
            content = read(f"data/{key}")
            if len(content) != numel * dtype.itemsize:
                raise CheckpointFormatError(
                    f"the storage {shown(key)} claims {numel * dtype.itemsize} bytes, the archive holds {len(content)}"
                )
            return elements(content, dtype)

        if "byteorder" in entries and read("byteorder") != b"little":
            raise CheckpointFormatError("the byte order of the archive is not little-endian")
        return load(Stream(read("data.pkl"), Budget()), allowed, persistent_loader(find))


@contextlib.contextmanager
def open_zip(path: str | os.PathLike[str], data: memoryview) -> Iterator[zipfile.ZipFile]:
    """Opens an archive; until the body of the `with` ends, whatever zipfile raises becomes one sentence."""
    _check_directory_size(bytes(data[-98:]))
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _ZIP_ERRORS as error:
        raise CheckpointFormatError(f"the zip archive is damaged ({type(error).__name__})") from error


def _check_directory_size(tail: bytes) -> None:
    """Refuses a central directory that zipfile would turn into gigabytes of ZipInfo objects.

    The end record is looked up where zipfile looks first; torch.save writes no comment behind it.
    """
    if tail[-22:-18] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise CheckpointFormatError("the zip archive is truncated or has a comment, its end record is not at the end")
    length = int.from_bytes(tail[-10:-6], "little")
    if tail[-42:-38] == b"PK\6\7":
        length = int.from_bytes(tail[-58:-50], "little") if tail[-98:-94] == b"PK\6\6" else 2**64
    if length > MAX_DIRECTORY_BYTES:
        raise CheckpointFormatError(f"the zip directory claims {length} bytes, more than {MAX_DIRECTORY_BYTES}")
