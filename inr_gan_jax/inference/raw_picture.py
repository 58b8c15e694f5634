"""A picture on disk, too large for memory, that a killed program can go on with.

Pieces are written one after the other at their places in a file of bare bytes. A journal beside it says how many are
safely on the disk, and for which picture: whoever comes back with another one is refused.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO

import numpy as np

from inr_gan_jax.errors import UserError

_SECONDS_BETWEEN_ENTRIES = 5.0


class RawPicture:
    """Bytes [height, width, channels] in a file, with a journal.

    Args:
        path: of the file; the journal lies beside it, ending in .journal.
        shape: (height, width, channels).
        fingerprint: of all that the bytes depend on.

    Raises:
        UserError: if the files hold another picture or none of ours, another program is at it, or they cannot be
            written.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], fingerprint: str) -> None:
        self.path, self.shape = path, shape
        self._fingerprint, self._size = fingerprint, shape[0] * shape[1] * shape[2]
        self._last_entry = time.monotonic()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self._journal: IO[bytes] = self.journal_path.open("a+b")
            self._lock()
            self.num_done = self._read_journal()
            if os.fstat(self._file).st_size != self._size:
                # Said before the file has its size again, or a kill in between would leave a journal that lies.
                self.num_done = 0
                self._append({"done": 0})
                os.ftruncate(self._file, self._size)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error

    @property
    def journal_path(self) -> Path:
        """The journal."""
        return self.path.with_suffix(".journal")

    def write(self, top: int, left: int, piece: np.ndarray) -> None:
        """Writes a piece [rows, columns, channels], uint8, at its place, and counts it as done.

        Raises:
            UserError: if the disk is full or fails; what the journal has stays good.
        """
        _, width, channels = self.shape
        rows = [piece] if piece.shape[1] == width else list(piece)
        try:
            for index, row in enumerate(rows):
                self._write_at(((top + index) * width + left) * channels, row.tobytes())
            self.num_done += 1
            if time.monotonic() - self._last_entry > _SECONDS_BETWEEN_ENTRIES:
                self.commit()
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}); the same command goes on where this one stopped"
            ) from error

    def commit(self) -> None:
        """Brings all pieces so far to the disk, then says so in the journal."""
        os.fsync(self._file)
        self._append({"done": self.num_done})
        self._last_entry = time.monotonic()

    def remove(self) -> None:
        """Deletes the picture and its journal."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files; another program may then go on."""
        if not self._journal.closed:
            os.close(self._file)
            self._journal.close()

    def _write_at(self, position: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file, left, position)
            left, position = left[written:], position + written

    def _append(self, entry: dict[str, int | str]) -> None:
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise UserError(f"another program is drawing {self.path}; wait for it, or take another folder") from error

    def _read_journal(self) -> int:
        """Number of pieces done; a new journal gets its first entry."""
        self._journal.seek(0)
        lines = self._journal.read().split(b"\n")
        # What follows the last line break is the entry that a kill cut short.
        whole, torn = lines[:-1], lines[-1]
        if not whole:
            self._journal.truncate(0)
            self._append({"picture": self._fingerprint})
            return 0
        if torn:
            self._journal.truncate(sum(len(line) + 1 for line in whole))
        try:
            found = json.loads(whole[0])["picture"]
            done = int(json.loads(whole[-1])["done"]) if len(whole) > 1 else 0
        except (ValueError, KeyError, TypeError):
            found, done = None, 0
        if found != self._fingerprint:
            self.close()
            raise UserError(
                f"{self.journal_path} belongs to the unfinished work of another picture; finish that one, give another "
                f"--output, or delete {self.path.name} and {self.journal_path.name}"
            )
        return done
