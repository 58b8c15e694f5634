"""A bucket in a local folder, behind the library that etils opens gs:// with; it can do no more than an object store.

An object is written whole or not at all, and seen once it is closed. There is no appending and no renaming of folders,
and a folder exists as long as something lies in it.
"""

import io
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from etils.epath import backend
from orbax.checkpoint._src.path import gcs_utils


class FakeBucket(fsspec.AbstractFileSystem):
    """Objects as files below `root`.

    Attributes:
        writes: how often each object was written.
    """

    protocol = ("gcs", "gs")
    cachable = False
    root = Path()
    writes: dict[str, int]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        FakeBucket.writes = {}

    @classmethod
    def place(cls, path: Any) -> Path:
        return cls.root / str(path).removeprefix("gs://").strip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb":
            return self.place(path).open("rb")
        if mode != "wb":
            raise AssertionError(f"an object cannot be opened with {mode!r}")
        return _Upload(path)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "b" in mode:
            return self._open(path, mode)
        return io.TextIOWrapper(self._open(path, mode + "b"), encoding="utf-8")

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        place = self.place(path)
        if (place.is_dir() and not self._is_folder(place)) or not place.exists():
            raise FileNotFoundError(path)
        kind = "directory" if place.is_dir() else "file"
        return {"name": str(path).removeprefix("gs://"), "type": kind, "size": place.stat().st_size}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        place = self.place(path)
        found = [entry for entry in sorted(place.iterdir()) if entry.is_file() or self._is_folder(entry)]
        infos = [self.info(str(entry.relative_to(self.root))) for entry in found]
        return infos if detail else [info["name"] for info in infos]

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Nothing: folders are parts of names."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: folders are parts of names."""

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        place = self.place(path)
        if place.is_dir() and recursive:
            shutil.rmtree(place)
        else:
            place.unlink()

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        raise AssertionError("nothing is renamed in a bucket")

    rename = mv

    def _is_folder(self, place: Path) -> bool:
        return any(entry.is_file() for entry in place.rglob("*"))


class _Upload(io.BytesIO):
    """What is written becomes an object when it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = str(path)

    def close(self) -> None:
        if not self.closed:
            place = FakeBucket.place(self._path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self.getvalue())
            name = place.relative_to(FakeBucket.root).as_posix()
            FakeBucket.writes[name] = FakeBucket.writes.get(name, 0) + 1
        super().close()


def _local_store(path: str) -> dict[str, str]:
    # The only single object that is written this way; all else are folders.
    end = "" if path.endswith("/_sharding") else "/"
    return {"driver": "file", "path": f"{FakeBucket.place(path)}{end}"}


def make_fake_bucket(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Puts the fake in the place of Google Cloud Storage; returns the address of a bucket."""
    monkeypatch.setattr(FakeBucket, "root", root)
    bucket = FakeBucket()
    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", lambda self, path: bucket)
    # Arrays do not pass through etils: their library speaks to the bucket itself.
    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", _local_store)
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
    return "gs://bucket"
