"""LSUN as tfds knows it, from the official LMDB folders, without TensorFlow."""

import re
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from inr_gan_jax.data.builders.record_builder import RecordBuilder
from inr_gan_jax.data.prepare.fit_image import FittedImage
from inr_gan_jax.data.prepare.sources import is_lmdb

SCENES = (
    "classroom", "bedroom", "bridge", "church_outdoor", "conference_room", "dining_room", "kitchen", "living_room",
    "restaurant", "tower",
)  # fmt: skip
OBJECTS = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining_table", "dog",
    "horse", "motorbike", "person", "potted_plant", "sheep", "sofa", "train", "tv-monitor",
)  # fmt: skip
VERSION = "3.1.0"
# The official names of the splits, and those of tfds.
_SPLITS = {"train": "train", "val": "validation"}


class Lsun(RecordBuilder, skip_registration=True):
    """Same name, version and features as tfds' own builder, whose reader needs a package that cannot be imported.

    The images are the bytes of the LMDB, JPEG or WebP, as tfds' own builder would store them.

    Source: F. Yu et al., LSUN, arXiv 1506.03365.
    """

    name = "lsun"
    BUILDER_CONFIGS = [  # noqa: RUF012 - as tfds wants it
        tfds.core.BuilderConfig(name=category, description=f"Images of {category}", version=tfds.core.Version(VERSION))
        for category in SCENES + OBJECTS
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Large scale images of one category of scenes or objects.",
            features=tfds.features.FeaturesDict(
                {"id": tfds.features.Text(), "image": tfds.features.Image(encoding_format="jpeg")}
            ),
            homepage="https://www.yf.io/p/lsun",
            metadata=tfds.core.MetadataDict({"preparation": {}}),
        )

    def example(self, name: str, image: FittedImage, label: int | None) -> dict[str, Any]:
        del label  # One category has no classes.
        return {"id": name.encode("utf-8", "replace"), "image": image.data}


def find_lsun(folder: Path) -> tuple[str, dict[str, Path]] | None:
    """The category of an official LSUN folder, and its splits in the same parent folder.

    Args:
        folder: `<category>_train_lmdb`, `<category>_val_lmdb` or, for objects, `<category>`.

    Returns:
        The category and the folder of each split, or None for any other folder.
    """
    match = re.fullmatch(r"(.+)_(train|val)_lmdb", folder.name)
    if not is_lmdb(folder):
        return None
    if match and match[1] in SCENES + OBJECTS:
        beside = {split: folder.with_name(f"{match[1]}_{official}_lmdb") for official, split in _SPLITS.items()}
        return match[1], {split: path for split, path in beside.items() if is_lmdb(path)}
    return (folder.name, {"train": folder}) if folder.name in OBJECTS else None
