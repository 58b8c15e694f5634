"""The zip container that torch.save writes since PyTorch 1.6."""

import struct
import zipfile
from typing import Any

from inr_gan_jax.importers.byte_source import ByteSource, ByteSpan, CheckpointFormatError, shown, source_of_bytes
from inr_gan_jax.importers.inert_objects import Globals
from inr_gan_jax.importers.pickle_machine import Budget, PickleMachine
from inr_gan_jax.importers.torch_records import StorageTable

# A state_dict of ten thousand tensors stays below both.
MAX_DIRECTORY_BYTES = 8 * 2**20
MAX_PICKLE_BYTES = 64 * 2**20

# What zipfile raises on damaged archives.
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, LookupError, EOFError, OSError, struct.error)


def decode_zip(source: ByteSource, allowed: Globals, budget: Budget) -> Any:
    """Decodes a file that torch.save wrote in zip format.

    Returns:
        The stored object; its storages are located and bounds-checked, not read.

    Raises:
        CheckpointFormatError: The archive is damaged, compressed, or lacks a member that it needs.
    """
    members = zip_members(source)
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointFormatError(f"the zip archive holds {len(pickles)} data.pkl instead of one")
    prefix = pickles[0].removesuffix("data.pkl")
    stream = _member_span(source, members[pickles[0]])
    byte_order = members.get(f"{prefix}byteorder")
    if byte_order is not None:
        _check_byte_order(_member_span(source, byte_order))

    def locate(key: str, length: int) -> ByteSpan:
        member = members.get(f"{prefix}data/{key}")
        span = None if member is None else _member_span(source, member)
        if span is None or span.length != length:
            found = "nothing" if span is None else f"{span.length} bytes"
            raise CheckpointFormatError(f"the storage {shown(key)} claims {length} bytes, the archive holds {found}")
        return span

    if stream.length > MAX_PICKLE_BYTES:
        raise CheckpointFormatError(f"data.pkl has {stream.length} bytes, more than {MAX_PICKLE_BYTES}")
    return PickleMachine(source_of_bytes(stream.read()), allowed, budget, StorageTable(locate).load_persistent).run()


def _check_byte_order(member: ByteSpan) -> None:
    if member.length != len("little") or member.read() != b"little":
        raise CheckpointFormatError("the byte order of the archive is not little-endian")


def zip_members(source: ByteSource) -> dict[str, zipfile.ZipInfo]:
    """The directory of an archive. Members that nobody asks for, such as the code of TorchScript, are never looked at.

    Raises:
        CheckpointFormatError: The archive is damaged.
    """
    _check_directory_size(source)
    try:
        # zipfile reads from `source.file`, whose position nobody else needs before data.pkl is decoded.
        with zipfile.ZipFile(source.file) as archive:
            return {entry.filename: entry for entry in archive.infolist()}
    except _ZIP_ERRORS as error:
        raise CheckpointFormatError(f"the zip archive is damaged ({type(error).__name__})") from error


def _member_span(source: ByteSource, entry: zipfile.ZipInfo) -> ByteSpan:
    name = shown(entry.filename)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
        raise CheckpointFormatError(f"the zip member {name} is compressed or encrypted, torch.save only stores")
    header = source.span().part(entry.header_offset, 30).read()
    if header[:4] != b"PK\3\4":
        raise CheckpointFormatError(f"the zip member {name} has no local header")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    return source.span().part(entry.header_offset + 30 + name_length + extra_length, entry.file_size)


def _check_directory_size(source: ByteSource) -> None:
    """Refuses a central directory that zipfile would turn into gigabytes of ZipInfo objects.

    The end record is looked up where zipfile looks first; torch.save writes no comment behind it.
    """
    tail = source.span().part(max(source.size - 98, 0), min(source.size, 98)).read()
    if len(tail) < 22 or tail[-22:-18] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise CheckpointFormatError("the zip archive is truncated or has a comment, its end record is not at the end")
    (length,) = struct.unpack("<I", tail[-10:-6])
    if tail[-42:-38] == b"PK\6\7":
        if tail[-98:-94] != b"PK\6\6":
            raise CheckpointFormatError("the zip archive has its 64-bit end record in an unusual place")
        (length,) = struct.unpack("<Q", tail[-58:-50])
    if length > MAX_DIRECTORY_BYTES:
        raise CheckpointFormatError(f"the zip directory claims {length} bytes, more than {MAX_DIRECTORY_BYTES}")
