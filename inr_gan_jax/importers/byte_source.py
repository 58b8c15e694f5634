"""Bytes of a checkpoint file: bounds-checked, and read only when they are needed."""

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterator

from inr_gan_jax.errors import UserError

# Official checkpoints stay below 1 GB. A sparse file claims terabytes, and arrays as large, at no cost to its author.
MAX_FILE_BYTES = 16 * 2**30


class CheckpointFormatError(UserError):
    """A file is not the checkpoint it should be; the message is one sentence that names what was found."""


def shown(value: object) -> str:
    """Text of a value of the file for a message: printable ASCII on one line, at most 100 characters."""
    text = value if isinstance(value, str) else f"<{type(value).__name__}>"
    text = ascii(text[:100])[1:-1]
    return text if len(text) <= 100 else text[:97] + "..."


class ByteSource:
    """A seekable binary file of known size.

    Attributes:
        file: The open file; its position belongs to the pickle stream that is being decoded.
        size: Length in bytes.
    """

    def __init__(self, file: io.BufferedReader | io.BytesIO, size: int) -> None:
        self.file = file
        self.size = size

    def span(self) -> "ByteSpan":
        """The whole source as one span."""
        return ByteSpan(self, 0, self.size)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fills `target` with the bytes from `offset` on and leaves the position of the stream as it was."""
        position = self.file.tell()
        self.file.seek(offset)
        count = self.file.readinto(target)
        self.file.seek(position)
        if count != len(target):
            raise CheckpointFormatError(f"the file became shorter while it was read, byte {offset + count} is missing")


class ByteSpan:
    """A byte string of a source that is not read until it is asked for."""

    __slots__ = ("length", "source", "start")

    def __init__(self, source: ByteSource, start: int, length: int) -> None:
        self.source = source
        self.start = start
        self.length = length

    def part(self, offset: int, length: int) -> "ByteSpan":
        """Bytes `offset` to `offset + length` of the span.

        Raises:
            CheckpointFormatError: The span is shorter than that.
        """
        if offset < 0 or length < 0 or offset + length > self.length:
            left = max(self.length - offset, 0)
            raise CheckpointFormatError(
                f"{length} bytes are claimed where {left} are left (byte {self.start + offset})"
            )
        return ByteSpan(self.source, self.start + offset, length)

    def read(self) -> bytes:
        """The bytes themselves; for short spans."""
        buffer = bytearray(self.length)
        self.source.read_into(self.start, memoryview(buffer))
        return bytes(buffer)


def source_of_bytes(data: bytes) -> ByteSource:
    """A source over bytes in memory."""
    return ByteSource(io.BytesIO(data), len(data))


@contextlib.contextmanager
def open_checkpoint(path: str | os.PathLike[str]) -> Iterator[ByteSource]:
    """Opens a checkpoint and puts its path in front of every complaint about it.

    Args:
        path: A regular file. Pipes and devices are refused: they have no size to check claims against.

    Raises:
        CheckpointFormatError: The path cannot be read, the file is empty, or the body of the `with` raised one.
    """
    path = pathlib.Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointFormatError(f"a {'directory' if path.is_dir() else 'special file'}, not a checkpoint file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise CheckpointFormatError("the file is empty")
            if size > MAX_FILE_BYTES:
                raise CheckpointFormatError(f"it has {size} bytes, no network file is larger than {MAX_FILE_BYTES}")
            yield ByteSource(file, size)
    except CheckpointFormatError as error:
        raise CheckpointFormatError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointFormatError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
