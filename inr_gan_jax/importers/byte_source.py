"""The bytes of a checkpoint file, mapped into memory, and the error that every damaged or hostile file ends in."""

import contextlib
import mmap
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


@contextlib.contextmanager
def open_checkpoint(path: str | os.PathLike[str]) -> Iterator[memoryview]:
    """Maps a checkpoint into memory and puts its path in front of every complaint about it.

    Args:
        path: A regular file. Pipes and devices are refused: they have no size to check claims against.

    Yields:
        The bytes of the file. They are read when they are looked at, so unused parts of the file cost nothing.

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
            yield memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    except CheckpointFormatError as error:
        raise CheckpointFormatError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointFormatError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
