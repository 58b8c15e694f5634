"""Real photographs, as zips of PNG and JPEG and as a folder."""

import dataclasses
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.data.prepare.fit_image import FitSettings, ImageFormat
from inr_gan_jax.data.prepare.preparation import dataset_fingerprint
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.prepare.records import open_records
from inr_gan_jax.data.read.dataset import open_dataset
from inr_gan_jax.data.read.pipeline import make_iterator
from tests.conftest import tiny_config

SHARED = Path(os.environ.get("INR_GAN_SHARED", Path(__file__).resolve().parents[3] / "shared"))
ZIPS: dict[str, tuple[int, ImageFormat]] = {
    "flowers-ccby-64.zip": (64, "png"),
    "flowers-ccby-128-jpeg.zip": (128, "jpeg"),
}
COUNT = 3480


def flowers_zip(name: str) -> Path:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"the photographs are not at {path}")
    return path


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with both zips prepared."""
    root = tmp_path_factory.mktemp("flowers")
    for name, (size, image_format) in ZIPS.items():
        settings = FitSettings(size, size, image_format=image_format)
        prepare_set(Options(str(flowers_zip(name)), root / f"flowers{size}", root, settings))
    return root


@pytest.mark.parametrize("name", ZIPS)
def test_prepared_photographs_are_those_of_the_zip(flowers: Path, name: str) -> None:
    directory = flowers / f"flowers{ZIPS[name][0]}" / "1.0.0"
    records = open_records(directory, "train")
    assert len(records) == COUNT
    with zipfile.ZipFile(flowers_zip(name)) as archive:
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
        for index in range(0, COUNT, 29):
            element, original = records[index], records.name(index)
            with Image.open(io.BytesIO(archive.read(original))) as image:
                np.testing.assert_array_equal(element["image"], np.asarray(image), err_msg=original)
            assert element["label"] == labels[original]
    image_bytes = sum(len(records.encoded(index)[0]) for index in range(COUNT))
    assert sum(file.stat().st_size for file in directory.glob("*.array_record*")) < 1.1 * image_bytes


def test_the_same_photographs_as_a_folder_are_the_same_set(flowers: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(flowers_zip("flowers-ccby-64.zip")) as archive:
        archive.extractall(tmp_path / "folder")
    done = prepare_set(Options(str(tmp_path / "folder"), tmp_path / "set", tmp_path, FitSettings(64, 64)))
    assert dataset_fingerprint(done.directory) == dataset_fingerprint(flowers / "flowers64")


def test_photographs_come_once_an_epoch_with_their_labels(flowers: Path) -> None:
    keys: dict[str, Any] = {"name": "flowers64", "data_dir": str(flowers), "height": 64, "width": 64, "channels": 3}
    config = dataclasses.replace(tiny_config().data, num_classes=5, **keys)
    iterator = make_iterator(open_dataset(config), config, 120, 0)
    batches = [next(iterator) for _ in range(COUNT // 120)]
    counts = np.bincount(np.concatenate([batch["label"] for batch in batches]))
    assert counts.tolist() == [610, 888, 549, 671, 762]
    assert len({image.tobytes() for batch in batches for image in batch["image"]}) == COUNT
