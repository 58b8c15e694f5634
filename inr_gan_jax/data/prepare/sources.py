"""Sources of images: a folder, a zip, an LMDB or a prepared set; listed once, then read one by one in any process.

The readers are small and picklable and import only what they need, because worker processes use them.
"""

import dataclasses
import functools
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from inr_gan_jax.data.prepare.fit_image import MAX_FILE_BYTES, BadImageError
from inr_gan_jax.data.prepare.labels import LABEL_FILE, LabelRule, labels_of_folders, labels_of_json, normal_name
from inr_gan_jax.errors import DatasetError

# All suffixes that Pillow knows for the formats that `fit_image` reads.
SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".avifs", ".bmp", ".gif", ".tif",
    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
}  # fmt: skip
_LMDB_FILE = "data.mdb"
# Parts of the names of tfds' record files.
_PREPARED_MARKS = (".array_record", ".tfrecord")
_LINK_BACK = "link to a folder that holds it"
_NEEDS_LMDB = "reading LSUN needs the package lmdb: pip install 'inr_gan_jax[lsun]' (or pip install lmdb)"


class ImageReader(Protocol):
    """Reads encoded images by name."""

    def read(self, name: str) -> bytes:
        """The encoded image.

        Raises:
            BadImageError, OSError, zipfile.BadZipFile: if it cannot be read.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Contents:
    """The images of a source.

    Attributes:
        reader: of the images.
        names: of all images, in the order of the set.
        labels: of each name, None where a label is missing; empty without labels.
        class_names: of the labels; empty without labels.
        absent: names with a label but without an image.
        ignored: number of other files, by suffix.
        signature: changes when the files or their versions change.
    """

    reader: ImageReader
    names: Sequence[str]
    labels: Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    signature: str = ""


@dataclasses.dataclass(frozen=True)
class FolderReader:
    """Reads files of a folder; names are relative paths with slashes."""

    root: Path

    def read(self, name: str) -> bytes:
        path = self.root / name
        if not path.is_file():
            raise BadImageError("missing file or broken link")
        _check_size(path.stat().st_size)
        return path.read_bytes()


@dataclasses.dataclass(frozen=True)
class ZipReader:
    """Reads entries of a zip."""

    path: Path

    def read(self, name: str) -> bytes:
        _check_size(self._archive.getinfo(name).file_size)
        return self._archive.read(name)

    @functools.cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)


@dataclasses.dataclass(frozen=True)
class LmdbReader:
    """Reads values of an LMDB, such as the official folders of LSUN."""

    path: Path

    def read(self, name: str) -> bytes:
        with _open_lmdb(self.path).begin() as transaction:
            data = transaction.get(os.fsencode(name))
        if data is None:
            raise BadImageError("the key is gone")
        return data


@dataclasses.dataclass(frozen=True)
class PreparedReader:
    """Reads the encoded images of a prepared set; names are indices."""

    directory: Path
    split: str

    def read(self, name: str) -> bytes:
        return self._source.encoded(int(name))[0]

    @functools.cached_property
    def _source(self) -> Any:
        # Imported here: it takes a second, and no other reader needs it.
        from inr_gan_jax.data.prepare.records import open_records

        return open_records(self.directory, self.split)


def list_folder(root: Path, label_rule: LabelRule, label_level: int | None = None) -> Contents:
    """Lists a folder and its sub-folders, including links to folders; hidden ones are skipped.

    Args:
        root: of the images.
        label_rule: where labels come from.
        label_level: as for `labels_of_folders`.

    Raises:
        DatasetError: if a folder cannot be read, holds a prepared set, or its labels are invalid.
    """
    names, ignored, digest = [], {}, hashlib.sha256()
    for path in _files_below(root, ignored):
        name = path.relative_to(root).as_posix()
        if _is_image(name, ignored, root):
            names.append(name)
    names.sort(key=normal_name)
    for name in names:
        digest.update(f"{name!r} {_version_of(root / name)}\n".encode("utf-8", "surrogateescape"))
    label_file = root / LABEL_FILE
    text = label_file.read_bytes() if label_rule == "json" and label_file.is_file() else None
    source = _LabelSource(label_rule, label_level, text, label_file)
    return _contents(FolderReader(root), names, ignored, digest, source)


def _files_below(root: Path, ignored: dict[str, int]) -> Iterator[Path]:
    """All files outside hidden folders. A link to a folder that contains the link is counted but not followed."""
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    while waiting:
        folder, above = waiting.pop()
        real = os.path.realpath(folder)
        if real in above:
            ignored[_LINK_BACK] = ignored.get(_LINK_BACK, 0) + 1
            continue
        try:
            with os.scandir(folder) as entries:
                found = [(entry.name, entry.is_dir()) for entry in entries]
        except OSError as error:
            raise DatasetError(f"folder {folder} cannot be read ({error.strerror})") from error
        for name, is_folder in found:
            if not is_folder:
                yield folder / name
            elif _is_wanted(name):
                waiting.append((folder / name, (*above, real)))


def list_zip(path: Path, label_rule: LabelRule, label_level: int | None = None) -> Contents:
    """Lists a zip, such as those of StyleGAN2-ADA.

    Args:
        path: of the zip.
        label_rule: where labels come from.
        label_level: as for `labels_of_folders`.

    Raises:
        DatasetError: if it is not a complete zip, or its labels are invalid.
    """
    entries, ignored, digest, text = {}, {}, hashlib.sha256(), None
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = normal_name(entry.filename)
                if name == LABEL_FILE and label_rule == "json":
                    text = archive.read(entry)
                if entry.filename.endswith(("/", "\\")) or not all(map(_is_wanted, name.split("/"))):
                    continue
                if _is_image(name, ignored, path):
                    digest.update(f"{entry.filename!r} {entry.file_size} {entry.CRC}\n".encode())
                    if entries.setdefault(entry.filename, entry).CRC != entry.CRC:
                        raise DatasetError(f"{path} holds two different files named {name!r}; remove one of them")
    except zipfile.BadZipFile as error:
        raise DatasetError(f"{path} {_reason_of_no_zip(path)} ({error})") from error
    source = _LabelSource(label_rule, label_level, text, path / LABEL_FILE)
    return _contents(ZipReader(path), sorted(entries, key=normal_name), ignored, digest, source)


def _reason_of_no_zip(path: Path) -> str:
    """What is wrong with a file that cannot be opened as a zip, and what to do."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        return "is not a complete zip, copy or download it again"
    kind = "one image" if path.suffix.lower() in SUFFIXES else "a file, but not a zip"
    return f"is {kind}, expected a folder or a zip of images"


def list_lmdb(path: Path) -> Contents:
    """Lists the keys of an LMDB, in its order.

    Raises:
        DatasetError: if it cannot be opened.
    """
    with _open_lmdb(path).begin() as transaction, transaction.cursor() as cursor:
        names = [os.fsdecode(key) for key in cursor.iternext(keys=True, values=False)]
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape"))
    digest.update(str((path / _LMDB_FILE).stat().st_size).encode())
    return Contents(LmdbReader(path), names, signature=digest.hexdigest())


@functools.cache
def _open_lmdb(path: Path) -> Any:
    """Opens an LMDB; a process may open each only once."""
    try:
        import lmdb
    except ImportError as error:
        raise DatasetError(_NEEDS_LMDB) from error
    try:
        # Without locks nothing is written, so a read-only disk works.
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_spare_txns=1)
    except lmdb.Error as error:
        raise DatasetError(f"{path} cannot be opened as an LMDB ({error}), download it again") from error


def is_lmdb(path: Path) -> bool:
    """Whether a folder is an LMDB."""
    return (path / _LMDB_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class _LabelSource:
    """Where the labels of a source come from: the rule, and the content and path of its `dataset.json`."""

    rule: LabelRule
    level: int | None
    text: bytes | None
    path: Path


def _contents(
    reader: ImageReader, names: list[str], ignored: dict[str, int], digest: Any, source: _LabelSource
) -> Contents:
    by_normal_name: dict[str, str] = {}
    for name in names:
        if by_normal_name.setdefault(normal_name(name), name) != name:
            same = by_normal_name[normal_name(name)]
            raise DatasetError(f"{source.path.parent} holds {same!r} and {name!r}, which are one name; rename one")
    labels: dict[str, int | None] = {}
    class_names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    if source.rule == "folders":
        labels, class_names = labels_of_folders(names, source.level, source.path.parent)
    elif source.text is not None:
        digest.update(source.text)
        found, class_names = labels_of_json(source.text, source.path)
        if found:
            labels = {name: found.pop(normal, None) for normal, name in by_normal_name.items()}
            absent = tuple(sorted(found))
    return Contents(reader, names, labels, class_names, absent, ignored, digest.hexdigest())


def _is_wanted(name: str) -> bool:
    """Whether a file or folder is not one of the operating system."""
    return not name.startswith(".") and name != "__MACOSX"


def _is_image(name: str, ignored: dict[str, int], source: Path) -> bool:
    """Whether a file is an image, by its suffix; others are counted.

    Args:
        name: normal, or relative to its folder.
        ignored: counts the others by suffix.
        source: for the message.

    Raises:
        DatasetError: if the file is part of a prepared set.
    """
    path = PurePosixPath(normal_name(name))
    if any(mark in path.name for mark in _PREPARED_MARKS):
        raise DatasetError(
            f"{source} holds a prepared data set ({name}), expected the folder or zip of images that it was prepared "
            "from; python -m inr_gan_jax.data.inspect shows what is in a prepared set"
        )
    if not _is_wanted(path.name) or path.as_posix() == LABEL_FILE:
        return False
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        ignored[suffix or "no suffix"] = ignored.get(suffix or "no suffix", 0) + 1
    return suffix in SUFFIXES


def _version_of(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # a broken link; it is reported when it is read
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_FILE_BYTES:
        raise BadImageError(f"{num_bytes:,} bytes, expected at most {MAX_FILE_BYTES:,}")
