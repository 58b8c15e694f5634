"""Inspects a prepared set: statistics, labels, duplicates, and a contact sheet.

python -m inr_gan_jax.data.inspect ~/tensorflow_datasets/photos
python -m inr_gan_jax.data.inspect --name=photos
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from etils import epath
from PIL import Image

from inr_gan_jax.cli.command import run
from inr_gan_jax.data.prepare.preparation import INFO_FILE, dataset_fingerprint, preparation, version_directory
from inr_gan_jax.errors import DatasetError
from inr_gan_jax.ops.image_grid import image_grid, magnify
from inr_gan_jax.progress import Progress
from inr_gan_jax.remote_paths import is_address

if TYPE_CHECKING:
    from inr_gan_jax.data.prepare.records import RecordSource

_SHEET_FILE = "contact_sheet.png"
_SHEET_ROWS, _SHEET_COLUMNS = 8, 12
# Images of the sheet are resized to sides between these.
_SMALLEST_TILE, _LARGEST_TILE = 64, 128
_SHOWN = 8
# The shown entries of `preparation`, in the order of the report.
_SHOWN_PREPARATION = ("source", "crop", "filter", "image_format", "encoder", "labels", "pillow")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Statistics of a split.

    Attributes:
        count: images.
        num_bytes: sum of the encoded images.
        sizes: number of images of each (height, width, channels).
        labels: number of images of each label; empty without labels.
        channel_means, channel_deviations: over all pixels of RGB (grey counts three times), 0 to 255.
        duplicates: indices of images with equal pixels, two or more per entry.
    """

    count: int
    num_bytes: int
    sizes: dict[tuple[int, ...], int]
    labels: dict[int, int]
    channel_means: tuple[float, ...]
    channel_deviations: tuple[float, ...]
    duplicates: list[list[int]]


@dataclasses.dataclass(frozen=True)
class _Inspected:
    """The contribution of one image to the statistics."""

    num_bytes: int
    label: int | None
    shape: tuple[int, ...]
    num_pixels: int
    sums: np.ndarray
    squares: np.ndarray
    digest: bytes


def summarise(source: RecordSource, num_threads: int) -> Summary:
    """Computes the statistics of all images of a split.

    Raises:
        DatasetError: if one cannot be read.
    """
    sizes: collections.Counter[tuple[int, ...]] = collections.Counter()
    labels: collections.Counter[int] = collections.Counter()
    places: dict[bytes, list[int]] = {}
    num_bytes = num_pixels = 0
    sums, squares = np.zeros(3), np.zeros(3)
    with Progress("inspecting", len(source)) as progress:
        for index, seen in enumerate(_inspect_all(source, num_threads)):
            sizes[seen.shape] += 1
            labels.update(() if seen.label is None else (seen.label,))
            places.setdefault(seen.digest, []).append(index)
            num_bytes, num_pixels = num_bytes + seen.num_bytes, num_pixels + seen.num_pixels
            sums, squares = sums + seen.sums, squares + seen.squares
            progress.add()
    means = sums / num_pixels
    return Summary(
        count=len(source),
        num_bytes=num_bytes,
        sizes=dict(sizes.most_common()),
        labels=dict(sorted(labels.items())),
        channel_means=tuple(means.tolist()),
        channel_deviations=tuple(np.sqrt(np.maximum(0, squares / num_pixels - means**2)).tolist()),
        duplicates=[indices for indices in places.values() if len(indices) > 1],
    )


def contact_sheet(source: RecordSource, rows: int, columns: int) -> np.ndarray:
    """A grid of images spread evenly over a split: [height, width, 3], uint8."""
    from inr_gan_jax.data.read.batches import FitImage

    count = min(len(source), rows * columns)
    indices = [index * len(source) // count for index in range(count)]
    height, width = source[indices[0]]["image"].shape[:2]
    shrink = max(1.0, max(height, width) / _LARGEST_TILE)
    fit = FitImage(max(1, round(height / shrink)), max(1, round(width / shrink)), 3)
    images = np.stack([fit(source[index]["image"]) for index in indices])
    factor = max(1, _SMALLEST_TILE // max(images.shape[1:3]))
    return image_grid(magnify(images, factor), min(columns, count), gap=2)


def describe(directory: epath.PathLike, split: str, num_threads: int) -> tuple[str, np.ndarray]:
    """The report and the contact sheet of a split.

    Args:
        directory: of a prepared set or of one of its versions.
        split: name of the split.
        num_threads: for decoding.

    Raises:
        DatasetError: if the set, the split or an image cannot be read.
    """
    import tensorflow_datasets as tfds

    from inr_gan_jax.data.prepare.records import records_of

    version = version_directory(directory)
    try:
        builder = tfds.builder_from_directory(str(version))
        if split not in builder.info.splits:
            raise DatasetError(f"{version} has no split {split!r}, expected one of {', '.join(builder.info.splits)}")
        source = records_of(builder, split)
    except DatasetError:
        raise
    except Exception as error:  # tfds raises many kinds for a damaged folder
        raise DatasetError(f"{version} cannot be read as a tfds data set ({error}), prepare it again") from error
    if not len(source):
        raise DatasetError(f"split {split!r} of {version} is empty, expected at least one image")
    summary = summarise(source, num_threads)
    features: Any = builder.info.features
    label = dict(features.items()).get("label")
    names = label.names if isinstance(label, tfds.features.ClassLabel) else []
    report = "\n".join([f"{version}, split {split}", *_rows(summary, source, names), *_preparation_rows(version)])
    return report, contact_sheet(source, _SHEET_ROWS, _SHEET_COLUMNS)


def _rows(summary: Summary, source: RecordSource, names: Sequence[str]) -> list[str]:
    sizes = [f"{'x'.join(map(str, size))} ({count:,})" for size, count in list(summary.sizes.items())[:_SHOWN]]
    hidden = len(summary.sizes) - _SHOWN
    rows = [
        f"  images        {summary.count:,}, {summary.num_bytes / 1e6:,.1f} MB encoded, "
        f"{summary.num_bytes / summary.count / 1e3:,.1f} kB each",
        f"  size          {', '.join(sizes)}" + (f" and {hidden:,} other sizes" if hidden > 0 else ""),
        f"  channel mean  {_three(summary.channel_means)} of 255",
        f"  deviation     {_three(summary.channel_deviations)}",
        f"  labels        {'none' if not summary.labels else f'{len(summary.labels)} classes'}",
    ]
    most = max(summary.labels.values(), default=1)
    for label, count in summary.labels.items():
        name = names[label] if label < len(names) else ""
        rows.append(f"    {label:>5} {name:<20.20} {count:>9,} {'#' * max(1, round(30 * count / most))}")
    spare = sum(len(places) - 1 for places in summary.duplicates)
    rows.append(f"  duplicates    {spare:,} images have the same pixels as an earlier one")
    for places in summary.duplicates[:_SHOWN]:
        rows.append(f"    {' = '.join(source.name(place) for place in places[:_SHOWN])}")
    return rows


def _preparation_rows(version: epath.Path) -> list[str]:
    made = preparation(version)
    rows = [f"  {name:<13} {made[name]}" for name in _SHOWN_PREPARATION if made.get(name) not in (None, {})]
    return [*rows, f"  fingerprint   {dataset_fingerprint(version)}"]


def _three(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _inspect_all(source: RecordSource, num_threads: int) -> Iterator[_Inspected]:
    """Inspects images in order, with bounded memory."""
    ahead = 8 * num_threads
    with ThreadPoolExecutor(num_threads) as pool:
        for first in range(0, len(source), ahead):
            yield from pool.map(lambda index: _inspect(source, index), range(first, min(first + ahead, len(source))))


def _inspect(source: RecordSource, index: int) -> _Inspected:
    try:
        data, label = source.encoded(index)
        image = source[index]["image"]
    except Exception as error:  # array_record and the decoders raise many kinds
        raise DatasetError(f"image {index} cannot be read ({error}), prepare the set again") from error
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    channels = np.broadcast_to(pixels, (len(pixels), 3))
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    return _Inspected(
        len(data), label, image.shape, len(pixels), channels.sum(axis=0), (channels**2).sum(axis=0), digest
    )  # fmt: skip


def _named_directory(arguments: Sequence[str]) -> epath.Path:
    """The folder of the set that the command line names, by a path or as in `config.data.name`."""
    given, name = arguments[1] if len(arguments) > 1 else "", flags.FLAGS.name or ""
    if bool(given) == bool(name):
        raise DatasetError("expected either the folder of a prepared set or --name=NAME, as in config.data.name")
    folder = epath.Path(given).expanduser()
    if given and folder.is_dir():
        return folder
    from inr_gan_jax.data.read.dataset import prepared_directory  # Loads tfds, which --help does not need.

    return prepared_directory(name or given, flags.FLAGS.data_dir)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    directory = _named_directory(arguments)
    of_set = directory.parent if (directory / INFO_FILE).is_file() else directory
    # Pillow writes to disks only.
    default = Path(_SHEET_FILE) if is_address(str(directory)) else Path(of_set) / _SHEET_FILE
    output = Path(flags.FLAGS.output).expanduser() if flags.FLAGS.output else default
    report, sheet = describe(directory, flags.FLAGS.split, len(os.sched_getaffinity(0)))
    print(report)
    try:
        Image.fromarray(sheet).save(output)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{output} cannot be written ({error}), choose another --output=FILE.png") from error
    print(f"contact sheet: {output}")


if __name__ == "__main__":
    flags.DEFINE_string("name", None, "Instead of a folder: name of a set, as in config.data.name.")
    flags.DEFINE_string("data_dir", "", "Folder of prepared sets; $TFDS_DATA_DIR or ~/tensorflow_datasets if empty.")
    flags.DEFINE_string("split", "train", "Split to inspect.")
    flags.DEFINE_string("output", None, f"File of the contact sheet; {_SHEET_FILE} in the set's folder if not given.")
    run(main, argument="the folder of a prepared set", needs_argument=False)
