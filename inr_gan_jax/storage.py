"""Files of a run on a disk or in a bucket (`gs://…`), which stores whole objects only."""

import contextlib
import io
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from etils import epath

# Between two writes of a growing file to a bucket, which allows about one write per second and object.
_SECONDS_BETWEEN_WRITES = 30.0


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is in a bucket, which can neither rename nor append."""
    return "://" in str(epath.Path(path))


def absolute(path: epath.PathLike) -> epath.Path:
    """The absolute path; a path in a bucket is returned unchanged."""
    path = epath.Path(path)
    return path if is_remote(path) else path.absolute()


def write_whole(path: epath.Path, content: str | bytes) -> None:
    """Writes a file atomically."""
    data = content.encode() if isinstance(content, str) else content
    if is_remote(path):
        path.write_bytes(data)
        return
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def unused_name(path: Path) -> Path:
    """A hidden, unique name in the same folder for a file or folder that is not finished yet.

    Created with `open` or `mkdir`, it gets the permissions of the user's umask, which `tempfile` ignores.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file on a disk for writing, which gets its name only when it is complete.

    Raises:
        OSError: if it cannot be written; no part of it is left then.
    """
    partial = unused_name(path)
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def move_folder(source: epath.Path, target: epath.Path) -> None:
    """Moves a folder to an unused name; in a bucket all files are copied before the first is deleted."""
    if not is_remote(source):
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
        return
    for file in files_below(source):
        file.copy(target / file.relative_to(source))
    source.rmtree()


def files_below(folder: epath.Path) -> Iterator[epath.Path]:
    """All files in a folder and its subfolders."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


def append_line(path: epath.Path, line: str) -> None:
    """Appends a line and writes it to disk, for files that seldom grow."""
    if is_remote(path):
        path.write_text((path.read_text() if path.exists() else "") + line + "\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


class GrowingFile:
    """A file of lines that grows often. On a disk each line is written immediately, in a bucket within half a minute.

    Args:
        path: of the file, which is replaced.
        lines: first lines.
    """

    def __init__(self, path: epath.Path, lines: list[str]) -> None:
        self._path, self._kept = path, io.StringIO()
        self._kept.write("".join(f"{line}\n" for line in lines))
        write_whole(path, self._kept.getvalue())
        self._last_write, self._is_behind = time.monotonic(), False
        self._file = None if is_remote(path) else path.open("a")

    def append(self, line: str) -> None:
        """Appends a line."""
        if self._file is not None:
            self._file.write(f"{line}\n")
            # Line by line, for readers who follow the file.
            self._file.flush()
            return
        self._kept.write(f"{line}\n")
        self._is_behind = True
        if time.monotonic() - self._last_write > _SECONDS_BETWEEN_WRITES:
            self.flush()

    def flush(self) -> None:
        """Writes the lines that have not been written yet."""
        if self._is_behind:
            write_whole(self._path, self._kept.getvalue())
            self._last_write, self._is_behind = time.monotonic(), False

    def close(self) -> None:
        """Writes all lines and closes the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
