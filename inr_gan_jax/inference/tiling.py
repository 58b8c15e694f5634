"""Images of any size in constant memory: rendered piece by piece into a file that a killed program can continue.

Pieces have one shape, so they share a compiled program. They are written in order at their places in a raw file; a
journal records how many are safely on disk and of which image, so that a program for another image is refused. Then
libvips builds the pyramid, streaming (pyramid.py).
"""

import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import jax
import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import pictures
from inr_gan_jax.inference.choices import MAX_SIDE
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pyramid import PyramidOptions, build_pyramid, finished_files
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.progress import Progress
from inr_gan_jax.sampling import PIXELS_PER_CALL

_NAME = "picture"
# A pyramid without compression: 1 + 1/4 + 1/16 + ... of the image.
_PYRAMID_SHARE = 4 / 3
_SECONDS_BETWEEN_ENTRIES = 5.0


@dataclasses.dataclass(frozen=True)
class Piece:
    """A rectangle of pixels of an image.

    Attributes:
        top: first row.
        left: first column.
        viewport: of the piece; the last ones may extend beyond the image.
    """

    top: int
    left: int
    viewport: Viewport


def cut_pieces(viewport: Viewport, pixels: int = PIXELS_PER_CALL) -> list[Piece]:
    """Cuts a viewport into pieces of one shape, row by row, each of about `pixels`.

    Strips of full width where a row has no more pixels than that, parts of one row otherwise.
    """
    columns = -(-viewport.width // -(-viewport.width // pixels))
    rows = max(1, min(viewport.height, pixels // columns))
    return [
        Piece(top, left, viewport.crop(top, left, rows, columns))
        for top in range(0, viewport.height, rows)
        for left in range(0, viewport.width, columns)
    ]


def render_pieces(
    loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport, pieces: Sequence[Piece], first: int = 0
) -> Iterator[np.ndarray]:
    """Renders pieces of a viewport one by one with one compiled program.

    Args:
        loaded: the generator.
        modulation: of the image.
        viewport: of the whole image.
        pieces: all of its pieces, of one shape.
        first: index of the piece to start with.

    Yields:
        [rows, columns, channels], uint8, cropped to the image.
    """
    grids = pictures.grids_of_tiles(loaded, [piece.viewport for piece in pieces])
    for piece, each in itertools.islice(zip(pieces, grids, strict=True), first, None):
        rendered = to_uint8(pictures.render_on(loaded, modulation, each))
        # A grid may have been padded beyond the piece.
        height = min(piece.viewport.height, viewport.height - piece.top)
        yield rendered[:height, : min(piece.viewport.width, viewport.width - piece.left)]


def render_tiled(
    loaded: LoadedGenerator,
    modulation: Modulation,
    viewport: Viewport,
    folder: Path,
    options: PyramidOptions | None = None,
    pixels: int = PIXELS_PER_CALL,
) -> Path:
    """Renders an image of any size in constant memory.

    Args:
        loaded: the generator.
        modulation: of the image, without a leading axis.
        viewport: the rectangle, its pixels, and the rule.
        folder: for the finished image, `picture.*`, and the unfinished one, `picture.raw` and `picture.journal`.
        options: of the finished image; None for a lossless TIFF.
        pixels: rendered at a time.

    Returns:
        The file to open.

    Raises:
        UserError: if the folder holds an image, or another unfinished one; if the disk has too little space.
    """
    options = options or PyramidOptions()
    shape = (viewport.height, viewport.width, loaded.generator.channels)
    check_folder(folder, shape, options)
    raw = RawPicture(folder / f"{_NAME}.raw", shape, fingerprint(loaded, modulation, viewport, pixels))
    try:
        pieces = cut_pieces(viewport, pixels)
        with Progress("tile", len(pieces), raw.num_done, "pieces") as progress:
            rendered = render_pieces(loaded, modulation, viewport, pieces, raw.num_done)
            for piece, values in zip(pieces[raw.num_done :], rendered, strict=True):
                raw.write(piece.top, piece.left, values)
                progress.add(1)
        raw.commit()
        build_pyramid(raw.path, shape, folder, _NAME, options)
        raw.remove()
    finally:
        raw.close()
    return finished_files(folder, _NAME, options)[-1]


def fingerprint(loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport, pixels: int) -> str:
    """A digest of everything that the bytes of an image depend on: network, weights, image, rectangle, pieces."""
    request = [repr(loaded.generator.settings), dataclasses.asdict(viewport), pixels, jax.__version__]
    digest = hashlib.sha256(json.dumps(request).encode())
    for leaf in jax.tree.leaves((modulation, dict(loaded.variables))):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def check_folder(folder: Path, shape: tuple[int, int, int], options: PyramidOptions) -> None:
    """Checks that an image can be written to a folder.

    Raises:
        UserError: if it holds one already, or has too little space.
    """
    for path in finished_files(folder, _NAME, options):
        if path.exists():
            raise UserError(f"{path} exists already; delete it or give another --output")
    raw = folder / f"{_NAME}.raw"
    size = shape[0] * shape[1] * shape[2]
    held = raw.stat().st_blocks * 512 if raw.exists() else 0
    needed, free = max(0, size - held) + round(_PYRAMID_SHARE * size), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"an image of {shape[0]} x {shape[1]} pixels needs up to {needed / 1e9:,.1f} GB more in {folder} while it "
            f"is rendered, but {free / 1e9:,.1f} GB are free"
        )


def check_tile_size(height: int, width: int) -> None:
    """Rejects sizes that no image viewer opens.

    Raises:
        UserError: for an empty side or one of more than a million pixels.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UserError(f"the size is {height} x {width} pixels, expected sides of 1 to {MAX_SIDE:,}")


class RawPicture:
    """Bytes [height, width, channels] in a file, with a journal next to it.

    Args:
        path: of the file; that of the journal ends in .journal.
        shape: (height, width, channels).
        fingerprint: of everything that the bytes depend on.

    Raises:
        UserError: if the files belong to another image or to no image of ours, another program is writing them, or
            they cannot be written.
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
                # Recorded before the file has its size again; a kill in between would leave a wrong journal otherwise.
                self.num_done = 0
                self._append({"done": 0})
                os.ftruncate(self._file, self._size)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error

    @property
    def journal_path(self) -> Path:
        """Path of the journal."""
        return self.path.with_suffix(".journal")

    def write(self, top: int, left: int, piece: np.ndarray) -> None:
        """Writes a piece [rows, columns, channels], uint8, at its place, and counts it.

        Raises:
            UserError: if the disk is full or fails; what the journal records stays valid.
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
                f"{self.path} cannot be written ({error.strerror}); the same command resumes where this one stopped"
            ) from error

    def commit(self) -> None:
        """Flushes all pieces so far to disk, then records them in the journal."""
        os.fsync(self._file)
        self._append({"done": self.num_done})
        self._last_entry = time.monotonic()

    def remove(self) -> None:
        """Deletes the file and its journal."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files; another program may then continue."""
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
            raise UserError(f"another program is rendering {self.path}; wait for it, or use another folder") from error

    def _read_journal(self) -> int:
        """Number of pieces done; a new journal gets its first entry."""
        self._journal.seek(0)
        lines = self._journal.read().split(b"\n")
        # What follows the last line break is an entry that a kill cut short.
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
                f"{self.journal_path} belongs to another, unfinished image; finish that one, give another "
                f"--output, or delete {self.path.name} and {self.journal_path.name}"
            )
        return done
