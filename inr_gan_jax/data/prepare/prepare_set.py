"""From any source to a prepared set on disk; an interrupted preparation resumes, and the set appears in one step."""

import collections
import contextlib
import dataclasses
import fcntl
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import PIL

from inr_gan_jax.data.builders.lsun import VERSION, Lsun, find_lsun
from inr_gan_jax.data.builders.record_builder import ImageArchive, RecordBuilder
from inr_gan_jax.data.builders.tfds_own import prepare_own
from inr_gan_jax.data.prepare.fit_image import ENCODER_OPTIONS, FitSettings
from inr_gan_jax.data.prepare.labels import LabelRule
from inr_gan_jax.data.prepare.preparation import PREPARATION_FORMAT, UNFINISHED, preparation
from inr_gan_jax.data.prepare.records import list_prepared
from inr_gan_jax.data.prepare.shards import Conversion, TooManyBadError
from inr_gan_jax.data.prepare.sources import Contents, is_lmdb, list_folder, list_lmdb, list_zip
from inr_gan_jax.errors import DatasetError

_REPORT = "report.json"
_SHOWN_BAD = 5
_SHOWN_CLASSES = 10
_TFDS_NAME = re.compile(r"[a-z][a-z0-9_]*(/[\w.+-]+)?")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to prepare.

    Attributes:
        source: folder, zip, LMDB or name of tfds.
        output: folder of the set; None for the folder of its name below `root`.
        root: folder of prepared sets.
        settings: size, mode and format of the images; None keeps the images as they are.
        labels: where labels come from.
        max_bad: share of the images that may be left out.
        num_processes: worker processes.
        label_level: with `folders`, which folder of a path is the class; None as for `labels_of_folders`.
    """

    source: str
    output: Path | None
    root: Path
    settings: FitSettings | None
    labels: LabelRule = "json"
    max_bad: float = 0.001
    num_processes: int = 1
    label_level: int | None = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The result of a preparation.

    Attributes:
        directory: of the prepared version.
        lines: for the user.
    """

    directory: Path
    lines: tuple[str, ...]


def prepare_set(options: Options) -> Prepared:
    """Prepares a set, or resumes an interrupted preparation.

    Raises:
        DatasetError: if the source or the options are wrong, or too many images are unusable.
    """
    if "://" in options.source:
        raise DatasetError(f"--source={options.source} is not on a disk; copy it to one first, images are read there")
    if options.label_level is not None and options.labels != "folders":
        raise DatasetError(
            f"--label_level={options.label_level} needs --labels=folders, but --labels is {options.labels}"
        )
    path = Path(options.source).expanduser()
    if not path.exists() and _TFDS_NAME.fullmatch(options.source):
        return _prepare_of_tfds(options)
    if not path.exists():
        raise DatasetError(
            f"source {options.source} does not exist, expected a folder, a zip, an LSUN folder or a name of tfds"
        )
    found = find_lsun(path.absolute()) if path.is_dir() else None
    if found and options.settings is None:
        category, folders = found
        contents = {split: list_lmdb(folder) for split, folder in folders.items()}
        output = options.output or options.root / "lsun" / category
        return SetWriter(options, output, contents, VERSION, category).run()
    return _prepare_images(options, _list(path, options))


def _list(path: Path, options: Options) -> Contents:
    if path.is_dir():
        return list_lmdb(path) if is_lmdb(path) else list_folder(path, options.labels, options.label_level)
    return list_zip(path, options.labels, options.label_level)


def _prepare_of_tfds(options: Options) -> Prepared:
    if options.source.split("/")[0] == "lsun":
        raise DatasetError(
            f"{options.source} is not downloaded automatically: get its folder with the script of "
            "https://github.com/fyu/lsun and give that, such as --source=church_outdoor_train_lmdb"
        )
    if options.settings is None and options.output is not None:
        raise DatasetError(
            f"--output={options.output} needs --resolution; without it {options.source} is prepared in its own folder"
        )
    builder = prepare_own(options.source, options.root)
    if options.settings is None:
        splits = ", ".join(f"{split} {info.num_examples:,}" for split, info in builder.info.splits.items())
        return Prepared(Path(builder.data_dir), (f"{builder.data_dir}: {splits} images, as tfds has them",))
    return _prepare_images(options, list_prepared(Path(builder.data_dir), "train"))


def _prepare_images(options: Options, contents: Contents) -> Prepared:
    if options.settings is None:
        raise DatasetError("the size is missing, expected --resolution=256, or --height and --width")
    if options.output is None:
        raise DatasetError(f"--output is missing, expected a folder for the set, such as {options.root / 'photos'}")
    if not contents.names:
        others = count_by_kind(contents.ignored)
        raise DatasetError(
            f"{options.source} holds no images ({others or 'it is empty'}), expected PNG, JPEG, WebP ..."
        )
    if options.labels == "folders" and not contents.class_names:
        depth = f", {options.label_level} deep," if (options.label_level or 1) > 1 else ""
        raise DatasetError(
            f"{options.source} has no sub-folders{depth} with images, expected one for each class with --labels=folders"
        )
    return SetWriter(options, options.output, {"train": contents}, "1.0.0", None).run()


class SetWriter:
    """Writes one set.

    Args:
        options: what to prepare.
        output: folder of the set.
        contents: images of each split.
        version: of the set.
        category: of LSUN, None for other sets.
    """

    def __init__(
        self, options: Options, output: Path, contents: Mapping[str, Contents], version: str, category: str | None
    ) -> None:
        self._options, self._contents, self._category = options, contents, category
        self._output, self._final, self._work = output, output / version, output / UNFINISHED
        source = Path(options.source).expanduser()
        if source.is_dir() and output.absolute().is_relative_to(source.absolute()):
            raise DatasetError(f"--output={output} is inside the source {source}, expected another folder")

    def run(self) -> Prepared:
        """Does the work that is left and moves the set to its final folder."""
        job = self._job()
        if self._final.exists():
            self._check_same(job)
            return Prepared(
                self._final, (f"{self._final}: is already prepared, from the same source with the same options",)
            )
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._begin(job)
                builder = self._builder(job)
                builder.convert()
                with contextlib.redirect_stdout(io.StringIO()):  # tfds would print a download of unknown size
                    builder.download_and_prepare()
                lines = self._finish(builder)
        except TooManyBadError as error:
            self._write_report({"bad": error.bad})
            raise DatasetError(f"{error}; {self._output / _REPORT} lists all of them so far") from error
        except OSError as error:
            raise DatasetError(f"{self._output} cannot be written ({error.strerror or error})") from error
        return Prepared(self._final, lines)

    def _job(self) -> dict[str, Any]:
        """What the result depends on."""
        settings = self._options.settings
        made: dict[str, Any] = {
            "format": PREPARATION_FORMAT,
            "source": Path(self._options.source).name,
            "signature": {split: contents.signature for split, contents in self._contents.items()},
            "labels": self._options.labels + (f":{level}" if (level := self._options.label_level or 1) > 1 else ""),
            "pillow": PIL.__version__,
        }
        names = ("height", "width", "channels", "crop", "image_format")
        made |= {name: getattr(settings, name, None) for name in names}
        made["filter"] = settings.resize_filter if settings else None
        made["encoder"] = ENCODER_OPTIONS[settings.image_format] if settings else None
        return made

    def _check_same(self, job: dict[str, Any]) -> None:
        there = preparation(self._final)
        for name, value in job.items():
            if there.get(name) != value:
                shown = (name, there.get(name), value) if name != "signature" else ("source", "other files", "these")
                raise DatasetError(
                    f"{self._final} already exists, and its {shown[0]} is {shown[1]}, not {shown[2]}; delete it or "
                    "choose another --output"
                )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Prevents two processes from writing the same set."""
        self._work.mkdir(exist_ok=True)
        with (self._work / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DatasetError(f"{self._output} is being prepared by another process, wait for it") from error
            yield

    def _begin(self, job: dict[str, Any]) -> None:
        """Removes earlier work if its source or options were different."""
        file = self._work / "job.json"
        text = json.dumps(job, indent=2)
        if file.exists() and file.read_text() != text:
            print(f"{self._output}: starting again, because the source or the options changed", flush=True)
            shutil.rmtree(self._work / "shards", ignore_errors=True)
        # The work of tfds takes no time to repeat.
        shutil.rmtree(self._work / "tfds", ignore_errors=True)
        file.write_text(text)

    def _builder(self, job: dict[str, Any]) -> RecordBuilder:
        options = self._options
        self._conversions = {
            split: Conversion(
                title=f"{self._output.name} {split}",
                contents=contents,
                settings=options.settings,
                directory=self._work / "shards" / split,
                max_bad=options.max_bad,
                num_processes=options.num_processes,
            )
            for split, contents in self._contents.items()
        }
        data_dir = str(self._work / "tfds")
        if self._category:
            return Lsun(conversions=self._conversions, preparation=job, data_dir=data_dir, config=self._category)
        return ImageArchive(conversions=self._conversions, preparation=job, data_dir=data_dir)

    def _finish(self, builder: RecordBuilder) -> tuple[str, ...]:
        """Moves the set to its final folder in one step, and summarises it."""
        shards = {split: conversion.finished() for split, conversion in self._conversions.items()}
        bad = [entry for split, conversion in self._conversions.items() for entry in conversion.bad(shards[split])]
        flat = [shard for split in shards.values() for shard in split]
        counts = {
            name: sum(getattr(shard, name) for shard in flat)
            for name in ("num_images", "num_copied", "num_enlarged", "image_bytes", "file_bytes")
        }
        ignored = collections.Counter[str]()
        for contents in self._contents.values():
            ignored.update(contents.ignored)
        self._write_report({**counts, "ignored_files": ignored, "bad": bad})
        os.replace(builder.data_dir, self._final)
        shutil.rmtree(self._work, ignore_errors=True)
        ratio = counts["file_bytes"] / max(1, counts["image_bytes"])
        lines = [
            f"{self._final}: {counts['num_images']:,} images, {counts['file_bytes'] / 1e6:,.1f} MB, {ratio:.3f} times "
            "the encoded images",
            f"copied without re-encoding: {counts['num_copied']:,}; enlarged: {counts['num_enlarged']:,}; left out: "
            f"{len(bad):,}" + (f", see {self._output / _REPORT}" if bad else ""),
        ]
        lines += [f"  {name}: {reason}" for name, reason in bad[:_SHOWN_BAD]]
        if ignored:
            lines.append(f"files of other kinds, ignored: {count_by_kind(ignored)}")
        lines += self._lines_of_classes({name for name, _ in bad})
        return tuple(lines)

    def _lines_of_classes(self, bad: set[str]) -> list[str]:
        """The number of images per class, so that wrong classes are noticed at once."""
        contents = self._contents.get("train")
        if contents is None or not contents.class_names:
            return []
        counts = collections.Counter(label for name, label in contents.labels.items() if name not in bad)
        classes = [f"{name} {counts[number]:,}" for number, name in enumerate(contents.class_names)]
        others = f" and {len(classes) - _SHOWN_CLASSES:,} more" if len(classes) > _SHOWN_CLASSES else ""
        lines = [f"{len(classes):,} classes: {', '.join(classes[:_SHOWN_CLASSES])}{others}"]
        empty = [name for number, name in enumerate(contents.class_names) if not counts[number]]
        if empty:
            lines.append(f"classes without an image: {', '.join(empty[:_SHOWN_CLASSES])} ({len(empty):,} in all)")
        return lines

    def _write_report(self, report: dict[str, Any]) -> None:
        text = json.dumps(report, indent=1, ensure_ascii=False)
        (self._output / _REPORT).write_text(text + "\n", encoding="utf-8", errors="replace")


def count_by_kind(ignored: Mapping[str, int]) -> str:
    """The number of files per kind, most frequent first."""
    kinds = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds)
