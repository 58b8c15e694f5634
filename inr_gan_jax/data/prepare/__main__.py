"""Prepares a data set once, for training anywhere: a folder or zip of images, an LSUN folder, or a set of tfds.

    python -m inr_gan_jax.data.prepare --source=~/photos --resolution=256 --output=~/tensorflow_datasets/photos
    python -m inr_gan_jax.data.prepare --source=~/lsun/church_outdoor_train_lmdb
    python -m inr_gan_jax.data.prepare --source=cifar10

LSUN folders and sets of tfds without a size become the sets that tfds knows by these names, images as they are.
Everything else becomes a set of images of one size. An interrupted preparation resumes with the same command.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from inr_gan_jax.cli.checked_flags import define_float, define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.data.prepare.fit_image import CROPS, IMAGE_FORMATS, RESIZE_FILTERS, FitSettings
from inr_gan_jax.data.prepare.labels import LABEL_RULES
from inr_gan_jax.errors import DatasetError

# The discriminator needs four pixels per side; a square of the largest side has the most pixels that an image may have.
_SIDES = (4, 10_000)
_DEEPEST, _MOST_PROCESSES = 100, 1024


def _settings(height: int | None, width: int | None) -> FitSettings | None:
    """Size, mode and format of the images, from the flags."""
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
    # Imported here: worker processes import this module too, and do not need it.
    from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
    from inr_gan_jax.data.read.dataset import data_root

    values = flags.FLAGS
    root = str(data_root(values.data_dir))
    if any("://" in place for place in (root, values.output or "")):
        raise DatasetError(
            f"sets are prepared on a disk, but {values.output or root} is in a bucket; copy it there later"
        )
    output = Path(values.output).expanduser() if values.output else None
    num_processes = values.num_processes or len(os.sched_getaffinity(0))
    options = Options(
        source=values.source,
        output=output,
        root=Path(root),
        settings=_settings(values.height, values.width),
        labels=values.labels,
        max_bad=values.max_bad,
        num_processes=num_processes,
        label_level=values.label_level,
    )
    print("\n".join(prepare_set(options).lines))


if __name__ == "__main__":
    flags.DEFINE_string("source", None, "Folder, zip, LSUN folder, or name of a set of tfds.", required=True)
    flags.DEFINE_string(
        "output", None, "Folder of the set; by default, for LSUN and tfds without a size, their folder in data_dir."
    )
    flags.DEFINE_string("data_dir", "", "Folder of prepared sets; $TFDS_DATA_DIR or ~/tensorflow_datasets if empty.")
    for side, text, advice in (
        ("resolution", "Height and width of every image, pixels.", "; --height and --width give two different sides"),
        ("height", "Height, where it differs from the width.", ""),
        ("width", "Width, where it differs from the height.", ""),
    ):
        define_integer(side, None, text, *_SIDES, advice)
    flags.DEFINE_enum("channels", "3", ["1", "3"], "3: RGB, 1: grey.")
    flags.DEFINE_enum(
        "crop", "center", CROPS, "center: largest centred part of the target aspect ratio; none: stretch."
    )
    flags.DEFINE_enum("filter", "box", RESIZE_FILTERS, "Of the resize; FID depends on it.")
    flags.DEFINE_enum("format", "png", IMAGE_FORMATS, "Of the images in the set; webp is lossless, jpeg is not.")
    flags.DEFINE_enum("labels", "json", LABEL_RULES, "json: dataset.json if there is one; folders: names of folders.")
    define_integer("label_level", None, "Which folder of a path is the class, 1: the first.", 1, _DEEPEST)
    define_float("max_bad", 0.001, "Share of images that may be left out.", 0, 1)
    define_integer("num_processes", 0, "Worker processes; 0: as many as cores.", 0, _MOST_PROCESSES)
    run(main, when_stopped="; the same command resumes where it stopped")
