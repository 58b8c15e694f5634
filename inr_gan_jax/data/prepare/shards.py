"""Writes array_record shards one by one, each completely or not at all, so that interrupted work can resume."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from inr_gan_jax.data.prepare.conversion import convert_all
from inr_gan_jax.data.prepare.fit_image import FitSettings, FittedImage
from inr_gan_jax.data.prepare.sources import Contents
from inr_gan_jax.errors import DatasetError
from inr_gan_jax.progress import Progress

# One record per group, so that random access reads only that record. Encoded images do not compress further.
_WRITER_OPTIONS = "group_size:1,uncompressed"
# An interruption loses at most one shard of work: this many images, or as many as fill this many bytes if encoding
# halves their size. Every shard is an open file when the set is read, so there are at most 256.
_IMAGES_PER_SHARD, _SHARD_BYTES, _MAX_SHARDS = 512, 2**23, 256

EncodeExample = Callable[[str, FittedImage], bytes]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished shard.

    Attributes:
        path: of the array_record file.
        file_bytes: its size.
        num_images: records in it.
        num_bytes: sum of the records.
        image_bytes: sum of the encoded images.
        num_copied: images that were not re-encoded.
        num_enlarged: images that were smaller than the result.
        bad: name and reason of each image that was left out.
        digest: of all images of this shard and those before it, and their labels.
    """

    path: Path
    file_bytes: int
    num_images: int
    num_bytes: int
    image_bytes: int
    num_copied: int
    num_enlarged: int
    bad: tuple[tuple[str, str], ...]
    digest: str


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The work of turning a source into shards.

    Attributes:
        title: of the progress bar.
        contents: the source.
        settings: of the result; None keeps the images as they are.
        directory: of the shards; empty, or with shards of the same conversion.
        max_bad: share of the images that may be left out.
        num_processes: worker processes.
    """

    title: str
    contents: Contents
    settings: FitSettings | None
    directory: Path
    max_bad: float
    num_processes: int

    @property
    def total(self) -> int:
        """Number of images that the source should have."""
        return len(self.contents.names) + len(self.contents.absent)

    def finished(self) -> list[Shard]:
        """The shards of earlier runs, up to the first that is missing or incomplete."""
        shards: list[Shard] = []
        for first in self._plan():
            shard = _read_shard(self._path(first))
            if shard is None:
                break
            shards.append(shard)
        return shards

    def run(self, encode_example: EncodeExample) -> list[Shard]:
        """Writes the shards that are missing.

        Args:
            encode_example: serialises the name of an image and the image.

        Returns:
            All shards, in order, without those that hold no image.

        Raises:
            DatasetError: if more images than allowed cannot be used.
        """
        shards = self.finished()
        starts = self._plan()[len(shards) :]
        self._check_bad([entry for shard in shards for entry in shard.bad])
        if starts:
            self.directory.mkdir(parents=True, exist_ok=True)
            with Progress(self.title, len(self.contents.names), starts[0]) as progress:
                shards += self._write(starts, shards, encode_example, progress)
        return [shard for shard in shards if shard.num_images]

    def bad(self, shards: list[Shard]) -> list[tuple[str, str]]:
        """Name and reason of everything that was left out."""
        return [entry for shard in shards for entry in shard.bad] + self._absent

    @property
    def _absent(self) -> list[tuple[str, str]]:
        return [(name, "named in dataset.json, but missing") for name in self.contents.absent]

    def _plan(self) -> list[int]:
        """Position of the first image of each shard."""
        return list(range(0, len(self.contents.names), self._shard_size))

    @property
    def _shard_size(self) -> int:
        fit = self.settings
        image_bytes = max(1, fit.height * fit.width * fit.channels // 2) if fit else 1
        wanted = max(1, min(_IMAGES_PER_SHARD, _SHARD_BYTES // image_bytes))
        return max(wanted, -(-len(self.contents.names) // _MAX_SHARDS))

    def _path(self, first: int) -> Path:
        return self.directory / f"{first:010d}.array_record"

    def _write(
        self, starts: list[int], before: list[Shard], encode_example: EncodeExample, progress: Progress
    ) -> Iterator[Shard]:
        names = [name for name in self.contents.names[starts[0] :] if not self._lacks_label(name)]
        converted = convert_all(names, self.contents.reader, self.settings, self.num_processes)
        bad = [entry for shard in before for entry in shard.bad]
        digest = before[-1].digest if before else ""
        # Closed at once after an error: it owns worker processes.
        with contextlib.closing(converted):
            for first in starts:
                draft = _Draft(self._path(first), digest)
                for name in self.contents.names[first : first + self._shard_size]:
                    outcome = "it has no label" if self._lacks_label(name) else next(converted)[1]
                    if isinstance(outcome, str):
                        draft.bad.append((name, outcome))
                        self._check_bad(bad + draft.bad)
                    else:
                        draft.add(outcome, encode_example(name, outcome), self.contents.labels.get(name))
                    progress.add()
                shard = draft.commit()
                bad += shard.bad
                digest = shard.digest
                yield shard

    def _lacks_label(self, name: str) -> bool:
        return name in self.contents.labels and self.contents.labels[name] is None

    def _check_bad(self, bad: list[tuple[str, str]]) -> None:
        """Checks that there are at most as many as allowed.

        Raises:
            DatasetError: that names the first.
        """
        bad = bad + self._absent
        # The product may be rounded below the integer that is meant.
        allowed = int(self.max_bad * self.total + 1e-6)
        if len(bad) > allowed:
            name, reason = bad[0]
            raise TooManyBadError(
                f"{len(bad)} of {self.total} images cannot be used so far, such as {name!r} ({reason}), and --max_bad="
                f"{self.max_bad:g} allows {allowed}; fix them or allow more",
                bad,
            )


class TooManyBadError(DatasetError):
    """More images than allowed cannot be used.

    Args:
        message: one sentence.
        bad: name and reason of each of them.
    """

    def __init__(self, message: str, bad: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.bad = bad


class _Draft:
    """A shard being written."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self._partial = path.with_suffix(".partial")
        self._writer = ArrayRecordWriter(str(self._partial), _WRITER_OPTIONS)
        self._counts = dict.fromkeys(("num_images", "num_bytes", "image_bytes", "num_copied", "num_enlarged"), 0)
        self.bad: list[tuple[str, str]] = []

    def add(self, image: FittedImage, record: bytes, label: int | None) -> None:
        """Appends a record."""
        self._writer.write(record)
        self._digest = hashlib.sha256(f"{self._digest} {label} ".encode() + image.data).hexdigest()
        added = (1, len(record), len(image.data), image.is_copied, image.is_enlarged)
        for name, value in zip(self._counts, added, strict=True):
            self._counts[name] += value

    def commit(self) -> Shard:
        """Completes the shard; its note, written last, marks it as complete."""
        self._writer.close()
        file_bytes = self._partial.stat().st_size
        os.replace(self._partial, self._path)
        note: dict[str, Any] = {**self._counts, "file_bytes": file_bytes, "bad": self.bad, "digest": self._digest}
        partial = self._path.with_suffix(".note")
        partial.write_text(json.dumps(note))
        os.replace(partial, self._path.with_suffix(".json"))
        return Shard(path=self._path, **{**note, "bad": tuple(self.bad)})


def _read_shard(path: Path) -> Shard | None:
    """The shard of an earlier run, None if it is incomplete."""
    try:
        note = json.loads(path.with_suffix(".json").read_text())
        if path.stat().st_size != note["file_bytes"]:
            return None
        return Shard(path=path, **{**note, "bad": tuple(map(tuple, note["bad"]))})
    except (OSError, ValueError, KeyError, TypeError):
        return None
