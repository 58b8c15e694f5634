"""Where images come from: a folder, a zip, an LMDB or a prepared set; listed once, then read one by one by any process.

The readers are small and picklable, and import no more than they need: they travel to worker processes.
"""

import dataclasses
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, get_args

from inr_gan_jax.data.errors import DatasetError
from inr_gan_jax.data.fit_image import MAX_FILE_BYTES, BadImageError

LabelRule = Literal["json", "folders", "none"]
LABEL_RULES: tuple[LabelRule, ...] = get_args(LabelRule)

LABEL_FILE = "dataset.json"
_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
_LMDB_FILE = "data.mdb"
# More are a mistake: one-hot labels would not fit a batch.
_MAX_CLASSES = 100_000
_LABEL_ADVICE = 'expected {"labels": [["name.png", 0], ...]} as in StyleGAN2-ADA, or --labels=none'
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
        labels: of each name, None for a name that ought to have one and has none; empty without labels.
        class_names: of the labels; empty without labels.
        absent: names that have a label and no image.
        ignored: number of other files, by suffix.
        signature: differs when another set of files, or another version of them, lies there.
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
            raise BadImageError("no file, or a link to none")
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
    """Reads the encoded images of a prepared set; names are the positions."""

    directory: Path
    split: str

    def read(self, name: str) -> bytes:
        return self._source.encoded(int(name))[0]

    @functools.cached_property
    def _source(self) -> Any:
        # Imported here: it takes a second, and no other reader needs it.
        from inr_gan_jax.data.records import open_records

        return open_records(self.directory, self.split)


def list_folder(root: Path, label_rule: LabelRule) -> Contents:
    """Lists a folder and its sub-folders; hidden ones are passed over.

    Raises:
        DatasetError: if its labels cannot be understood.
    """
    names, ignored, digest = [], {}, hashlib.sha256()
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if _is_wanted(name))
        for file in files:
            path = Path(folder, file)
            name = path.relative_to(root).as_posix()
            if _is_image(name, ignored):
                names.append(name)
    names.sort()
    for name in names:
        digest.update(f"{name!r} {_version_of(root / name)}\n".encode("utf-8", "surrogateescape"))
    label_file = root / LABEL_FILE
    text = label_file.read_bytes() if label_rule == "json" and label_file.is_file() else None
    return _contents(FolderReader(root), names, ignored, digest, (label_rule, text, label_file))


def list_zip(path: Path, label_rule: LabelRule) -> Contents:
    """Lists a zip, such as those of StyleGAN2-ADA.

    Raises:
        DatasetError: if it is no whole zip, or its labels cannot be understood.
    """
    names, ignored, digest, text = [], {}, hashlib.sha256(), None
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or not all(map(_is_wanted, PurePosixPath(entry.filename).parts)):
                    continue
                if _is_image(entry.filename, ignored):
                    names.append(entry.filename)
                    digest.update(f"{entry.filename!r} {entry.file_size} {entry.CRC}\n".encode())
            if label_rule == "json" and LABEL_FILE in archive.namelist():
                text = archive.read(LABEL_FILE)
    except zipfile.BadZipFile as error:
        raise DatasetError(f"{path} is not a whole zip ({error}), copy or download it again") from error
    return _contents(ZipReader(path), sorted(set(names)), ignored, digest, (label_rule, text, path / LABEL_FILE))


def list_lmdb(path: Path) -> Contents:
    """Lists the keys of an LMDB, in its own order.

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
        # Without locks nothing is written, so that a read-only disk will do.
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_spare_txns=1)
    except lmdb.Error as error:
        raise DatasetError(f"{path} cannot be opened as an LMDB ({error}), get it again") from error


def is_lmdb(path: Path) -> bool:
    """Whether a folder is an LMDB."""
    return (path / _LMDB_FILE).is_file()


def _contents(
    reader: ImageReader,
    names: list[str],
    ignored: dict[str, int],
    digest: Any,
    label_source: tuple[LabelRule, bytes | None, Path],
) -> Contents:
    rule, text, label_path = label_source
    labels: dict[str, int | None] = {}
    class_names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    if rule == "folders":
        labels, class_names = _labels_of_folders(names)
    elif text is not None:
        digest.update(text)
        found, class_names = _labels_of_json(text, label_path)
        if found:
            labels = {name: found.pop(name, None) for name in names}
            absent = tuple(sorted(found))
    return Contents(reader, names, labels, class_names, absent, ignored, digest.hexdigest())


def _labels_of_folders(names: Iterable[str]) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """The first folder of each name as its class; a file outside of any has none."""
    folders = {name: name.split("/")[0] if "/" in name else None for name in names}
    class_names = tuple(sorted({folder for folder in folders.values() if folder is not None}))
    numbers = {folder: number for number, folder in enumerate(class_names)}
    return {name: None if folder is None else numbers[folder] for name, folder in folders.items()}, class_names


def _labels_of_json(text: bytes, path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Labels by name, and the names of the classes, from StyleGAN2-ADA's dataset.json.

    Raises:
        DatasetError: if it holds anything else.
    """
    try:
        values = json.loads(text)
        pairs = values["labels"] if isinstance(values, dict) else None
    except (ValueError, KeyError) as error:
        raise DatasetError(f"{path} is no list of labels ({type(error).__name__}: {error}); {_LABEL_ADVICE}") from error
    if pairs is None:
        return {}, ()
    labels: dict[str, int] = {}
    for pair in pairs.items() if isinstance(pairs, dict) else _listed(pairs, path):
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DatasetError(f"{path} has the entry {str(pair)[:80]}, which is no pair; {_LABEL_ADVICE}")
        name, label = pair
        if type(label) is not int or not 0 <= label < _MAX_CLASSES:
            raise DatasetError(f"{path} gives {name!r} the label {str(label)[:80]}, expected a class number from 0 on")
        labels[name.replace("\\", "/")] = label
    num_classes = max(labels.values(), default=-1) + 1
    names = values.get("classes")
    if isinstance(names, list) and len({str(name) for name in names}) == len(names) >= num_classes:
        return labels, tuple(map(str, names))
    return labels, tuple(map(str, range(num_classes)))


def _listed(pairs: Any, path: Path) -> list[Any]:
    if not isinstance(pairs, list):
        raise DatasetError(f"{path} has the labels {str(pairs)[:80]}, which are no list; {_LABEL_ADVICE}")
    return pairs


def _is_wanted(name: str) -> bool:
    """Whether a file or folder is not one that a system keeps for itself."""
    return not name.startswith(".") and name != "__MACOSX"


def _is_image(name: str, ignored: dict[str, int]) -> bool:
    """Whether a file is taken for an image; others are counted."""
    path = PurePosixPath(name)
    if not _is_wanted(path.name) or name == LABEL_FILE:
        return False
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        ignored[suffix or "no suffix"] = ignored.get(suffix or "no suffix", 0) + 1
    return suffix in _SUFFIXES


def _version_of(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # a link to nothing; it will be reported when it is read
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_FILE_BYTES:
        raise BadImageError(f"{num_bytes:,} bytes, expected at most {MAX_FILE_BYTES:,}")
