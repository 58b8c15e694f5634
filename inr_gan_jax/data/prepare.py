"""Prepares a data set once, for training anywhere: a folder or zip of images, an LSUN folder, or a set of tfds.

    python -m inr_gan_jax.data.prepare --source=~/photos --resolution=256 --output=~/tensorflow_datasets/photos
    python -m inr_gan_jax.data.prepare --source=~/lsun/church_outdoor_train_lmdb
    python -m inr_gan_jax.data.prepare --source=cifar10

LSUN folders and sets of tfds without a size become the sets that tfds knows by these names, images as they are.
Everything else becomes a set of images of one size. A killed run goes on when the same command is given again.
"""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from inr_gan_jax.command_line import run
from inr_gan_jax.data.errors import DatasetError
from inr_gan_jax.data.fit_image import CROPS, IMAGE_FORMATS, RESIZE_FILTERS, FitSettings
from inr_gan_jax.data.image_sources import LABEL_RULES, Contents, LabelRule, is_lmdb, list_folder, list_lmdb, list_zip
from inr_gan_jax.data.preparation import UNFINISHED

if TYPE_CHECKING:
    from inr_gan_jax.data.builders.record_builder import RecordBuilder

_REPORT = "report.json"
_TFDS_NAME = re.compile(r"[a-z][a-z0-9_]*(/[\w.+-]+)?")
_SHOWN_BAD = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """What to prepare.

    Attributes:
        source: folder, zip, LMDB or name of tfds.
        output: folder of the set; None for the place that its name has below `root`.
        root: folder of prepared sets.
        settings: what every image becomes; None keeps the images as they are.
        labels: where labels come from.
        max_bad: share of the images that may be left out.
        num_processes: worker processes.
    """

    source: str
    output: Path | None
    root: Path
    settings: FitSettings | None
    labels: LabelRule = "json"
    max_bad: float = 0.001
    num_processes: int = 1


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What came of it.

    Attributes:
        directory: of the prepared version.
        lines: that tell the user.
    """

    directory: Path
    lines: tuple[str, ...]


def prepare(options: Options) -> Prepared:
    """Prepares a set, or finishes what was begun.

    Raises:
        DatasetError: for whatever is wrong with the source, the options or too many of the images.
    """
    path = Path(options.source).expanduser()
    if not path.exists() and _TFDS_NAME.fullmatch(options.source):
        return _prepare_of_tfds(options)
    if not path.exists():
        raise DatasetError(f"source {path} does not exist, expected a folder, a zip, an LSUN folder or a name of tfds")
    from inr_gan_jax.data.builders.lsun import VERSION, find_lsun

    found = find_lsun(path.absolute()) if path.is_dir() else None
    if found and options.settings is None:
        category, folders = found
        contents = {split: list_lmdb(folder) for split, folder in folders.items()}
        output = options.output or options.root / "lsun" / category
        return _Work(options, output, contents, VERSION, category).run()
    return _prepare_images(options, _list(path, options.labels))


def _list(path: Path, labels: LabelRule) -> Contents:
    if path.is_dir():
        return list_lmdb(path) if is_lmdb(path) else list_folder(path, labels)
    return list_zip(path, labels)


def _prepare_of_tfds(options: Options) -> Prepared:
    from inr_gan_jax.data.builders.tfds_own import prepare_own
    from inr_gan_jax.data.records import list_prepared

    if options.source.split("/")[0] == "lsun":
        raise DatasetError(
            f"{options.source} is not downloaded by itself: get its folder with the script of "
            "https://github.com/fyu/lsun and give that, such as --source=church_outdoor_train_lmdb"
        )
    if options.settings is None and options.output is not None:
        raise DatasetError(f"--output={options.output} needs --resolution; without it {options.source} keeps its place")
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
        others = ", ".join(f"{count} {suffix}" for suffix, count in sorted(contents.ignored.items()))
        raise DatasetError(
            f"{options.source} holds no images ({others or 'it is empty'}), expected PNG, JPEG, WebP ..."
        )
    if options.labels == "folders" and not contents.class_names:
        raise DatasetError(f"{options.source} has no sub-folders, expected one for each class with --labels=folders")
    return _Work(options, options.output, {"train": contents}, "1.0.0", None).run()


class _Work:
    """One set on its way.

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
            raise DatasetError(f"--output={output} lies inside the source {source}, expected another place")

    def run(self) -> Prepared:
        """Does what is not done yet and puts the set in its place."""
        from inr_gan_jax.data.shards import TooManyBadError

        job = self._job()
        if self._final.exists():
            self._check_same(job)
            return Prepared(self._final, (f"{self._final}: is prepared already, from the same source in the same way",))
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._begin(job)
                builder = self._builder(job)
                builder.convert()
                with contextlib.redirect_stdout(io.StringIO()):  # tfds would tell of a download of unknown size
                    builder.download_and_prepare()
                lines = self._finish(builder)
        except TooManyBadError as error:
            self._write_report({"bad": error.bad})
            raise DatasetError(f"{error}; all of them so far stand in {self._output / _REPORT}") from error
        except OSError as error:
            raise DatasetError(f"{self._output} cannot be written ({error.strerror or error})") from error
        return Prepared(self._final, lines)

    def _job(self) -> dict[str, Any]:
        """What the result depends on."""
        import PIL

        from inr_gan_jax.data.fit_image import ENCODER_OPTIONS
        from inr_gan_jax.data.preparation import PREPARATION_FORMAT

        settings = self._options.settings
        made: dict[str, Any] = {
            "format": PREPARATION_FORMAT,
            "source": Path(self._options.source).name,
            "signature": {split: contents.signature for split, contents in self._contents.items()},
            "labels": self._options.labels,
            "pillow": PIL.__version__,
        }
        names = ("height", "width", "channels", "crop", "image_format")
        made |= {name: getattr(settings, name, None) for name in names}
        made["filter"] = settings.resize_filter if settings else None
        made["encoder"] = ENCODER_OPTIONS[settings.image_format] if settings else None
        return made

    def _check_same(self, job: dict[str, Any]) -> None:
        from inr_gan_jax.data.preparation import preparation

        there = preparation(self._final)
        for name, value in job.items():
            if there.get(name) != value:
                shown = (name, there.get(name), value) if name != "signature" else ("source", "other files", "these")
                raise DatasetError(
                    f"{self._final} is there already, and its {shown[0]} is {shown[1]}, not {shown[2]}; delete it or "
                    "choose another --output"
                )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps two runs from writing the same set."""
        self._work.mkdir(exist_ok=True)
        with (self._work / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DatasetError(f"{self._output} is being prepared by another process, wait for it") from error
            yield

    def _begin(self, job: dict[str, Any]) -> None:
        """Drops earlier work if it was of another source, or done in another way."""
        file = self._work / "job.json"
        text = json.dumps(job, indent=2)
        if file.exists() and file.read_text() != text:
            print(f"{self._output}: starting anew, because the source or the options changed", flush=True)
            shutil.rmtree(self._work / "shards", ignore_errors=True)
        # What tfds had begun takes no time to do again.
        shutil.rmtree(self._work / "tfds", ignore_errors=True)
        file.write_text(text)

    def _builder(self, job: dict[str, Any]) -> "RecordBuilder":
        from inr_gan_jax.data.builders.image_archive import ImageArchive
        from inr_gan_jax.data.builders.lsun import Lsun
        from inr_gan_jax.data.shards import Conversion

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

    def _finish(self, builder: "RecordBuilder") -> tuple[str, ...]:
        """Puts the set in its place, in one step, and says what is in it."""
        shards = {split: conversion.finished() for split, conversion in self._conversions.items()}
        bad = [entry for split, conversion in self._conversions.items() for entry in conversion.bad(shards[split])]
        flat = [shard for split in shards.values() for shard in split]
        counts = {
            name: sum(getattr(shard, name) for shard in flat)
            for name in ("num_images", "num_copied", "num_enlarged", "image_bytes", "file_bytes")
        }
        ignored = {suffix: count for contents in self._contents.values() for suffix, count in contents.ignored.items()}
        self._write_report({**counts, "ignored_files": ignored, "bad": bad})
        os.replace(builder.data_dir, self._final)
        shutil.rmtree(self._work, ignore_errors=True)
        ratio = counts["file_bytes"] / max(1, counts["image_bytes"])
        lines = [
            f"{self._final}: {counts['num_images']:,} images, {counts['file_bytes'] / 1e6:,.1f} MB, {ratio:.3f} times the "
            "encoded images",
            f"copied without encoding anew: {counts['num_copied']:,}; enlarged: {counts['num_enlarged']:,}; left out: "
            f"{len(bad):,}" + (f", see {self._output / _REPORT}" if bad else ""),
        ]
        lines += [f"  {name}: {reason}" for name, reason in bad[:_SHOWN_BAD]]
        return tuple(lines)

    def _write_report(self, report: dict[str, Any]) -> None:
        text = json.dumps(report, indent=1, ensure_ascii=False)
        (self._output / _REPORT).write_text(text + "\n", encoding="utf-8", errors="replace")


def _settings(height: int | None, width: int | None) -> FitSettings | None:
    """What the flags say that every image becomes."""
    values = flags.FLAGS
    height, width = height or values.resolution, width or values.resolution
    if height is None and width is None:
        return None
    if height is None or width is None:
        raise DatasetError("one side is missing, expected --resolution, or both --height and --width")
    return FitSettings(height, width, int(values.channels), values.crop, values.filter, values.format)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    # Imported here: the worker processes import this module too, and need none of it.
    from inr_gan_jax.data.dataset import data_root

    values = flags.FLAGS
    output = Path(values.output).expanduser().absolute() if values.output else None
    num_processes = values.num_processes or len(os.sched_getaffinity(0))
    options = Options(
        source=values.source,
        output=output,
        root=data_root(values.data_dir).absolute(),
        settings=_settings(values.height, values.width),
        labels=values.labels,
        max_bad=values.max_bad,
        num_processes=num_processes,
    )
    print("\n".join(prepare(options).lines))


if __name__ == "__main__":
    flags.DEFINE_string("source", None, "Folder, zip, LSUN folder, or name of a set of tfds.", required=True)
    flags.DEFINE_string("output", None, "Folder of the set; for LSUN and tfds without a size, their place in data_dir.")
    flags.DEFINE_string("data_dir", "", "Folder of prepared sets; $TFDS_DATA_DIR or ~/tensorflow_datasets if empty.")
    flags.DEFINE_integer("resolution", None, "Height and width of every image, pixels.", lower_bound=1)
    flags.DEFINE_integer("height", None, "Height, where it differs from the width.", lower_bound=1)
    flags.DEFINE_integer("width", None, "Width, where it differs from the height.", lower_bound=1)
    flags.DEFINE_enum("channels", "3", ["1", "3"], "3: RGB, 1: grey.")
    flags.DEFINE_enum("crop", "center", CROPS, "center: largest centred part of the wanted aspect; none: stretch.")
    flags.DEFINE_enum("filter", "box", RESIZE_FILTERS, "Of the resize; FID depends on it.")
    flags.DEFINE_enum("format", "png", IMAGE_FORMATS, "Of the images in the set; webp is lossless, jpeg is not.")
    flags.DEFINE_enum("labels", "json", LABEL_RULES, "json: dataset.json if there is one; folders: the first folder.")
    flags.DEFINE_float("max_bad", 0.001, "Share of images that may be left out.", lower_bound=0.0, upper_bound=1.0)
    flags.DEFINE_integer("num_processes", 0, "Worker processes; 0: as many as cores.", lower_bound=0)
    run(main, when_stopped="; the same command goes on where it stopped")
