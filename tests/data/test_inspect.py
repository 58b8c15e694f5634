"""What is told of a prepared set."""

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from inr_gan_jax.data import inspect
from inr_gan_jax.data.inspect import contact_sheet, describe, summarise
from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.prepare.records import RecordSource, open_records
from inr_gan_jax.errors import DatasetError
from tests.data.odd_images import SIDE, colours, encoded, write_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three roses and a tulip, of which the tulip and two roses are the same picture."""
    root = tmp_path_factory.mktemp("inspected")
    seeds = {"rose/1.png": 0, "rose/2.bmp": 1, "rose/3.png": 1, "tulip/1.png": 1}
    files = {name: encoded(colours(seed), name[-3:].upper()) for name, seed in seeds.items()}
    source = write_folder(root / "source", files)
    settings = FitSettings(SIDE, SIDE, resize_filter="lanczos")
    prepare_set(Options(str(source), root / "flowers", root, settings, labels="folders"))
    return root / "flowers"


@pytest.fixture(scope="module")
def source(pictures: Path) -> RecordSource:
    return open_records(pictures / "1.0.0", "train")


def test_numbers_are_those_of_the_pixels(source: RecordSource) -> None:
    summary = summarise(source, 2)
    pixels = np.stack([colours(seed) for seed in (0, 1, 1, 1)]).reshape(-1, 3).astype(np.float64)
    assert summary.count == 4
    assert summary.sizes == {(SIDE, SIDE, 3): 4}
    assert summary.labels == {0: 3, 1: 1}
    np.testing.assert_allclose(summary.channel_means, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(summary.channel_deviations, pixels.std(axis=0), rtol=1e-9)


def test_equal_pixels_are_duplicates_whatever_the_file(source: RecordSource) -> None:
    assert summarise(source, 1).duplicates == [[1, 2, 3]]


def test_report_tells_labels_duplicates_and_preparation(pictures: Path) -> None:
    report, _ = describe(pictures, "train", 1)
    for text in (
        "images        4,",
        "16x16x3 (4)",
        "0 rose                         3 ##############################",
        "1 tulip                        1 ##########",
        "2 images have the same pixels as an earlier one",
        "rose/2.bmp = rose/3.png = tulip/1.png",
        "filter        lanczos",
        "fingerprint",
    ):
        assert text in report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., epath.Path]:
    """Which folder a command line names."""

    def ask(*arguments: str, **given: str) -> epath.Path:
        values = types.SimpleNamespace(**{"name": None, "data_dir": "", **given})
        monkeypatch.setattr(inspect.flags, "FLAGS", values)
        return inspect._named_directory(["inspect", *arguments])

    return ask


def test_a_set_is_named_by_a_folder_or_as_main_names_it(
    pictures: Path, digits_root: Path, asked: Callable[..., epath.Path]
) -> None:
    root = str(pictures.parent)
    assert asked(str(pictures)) == epath.Path(pictures)
    for found in (asked(name="flowers", data_dir=root), asked("flowers", data_dir=root), asked(name=str(pictures))):
        assert found == epath.Path(pictures / "1.0.0")
    assert asked(name="flowers/1.0.0", data_dir=root) == epath.Path(pictures / "1.0.0")
    assert asked(name="digits", data_dir=str(digits_root)) == epath.Path(digits_root / "digits" / "1.0.0")
    with pytest.raises(DatasetError, match=r"'flower' is not prepared.*nearest: flowers"):
        asked(name="flower", data_dir=root)
    for arguments, given in (((), {}), ((str(pictures),), {"name": "flowers"})):
        with pytest.raises(DatasetError, match="either the folder of a prepared set or --name=NAME"):
            asked(*arguments, **given)


def test_sheet_shows_the_images_in_order(source: RecordSource) -> None:
    sheet = contact_sheet(source, 1, 4)
    side = 64  # small pictures are magnified
    assert sheet.shape == (side + 4, 4 * (side + 2) + 2, 3)
    first = sheet[2 : 2 + side : side // SIDE, 2 : 2 + side : side // SIDE]
    np.testing.assert_array_equal(first, colours(0))


def test_command_writes_the_sheet_and_refuses_other_folders(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inr_gan_jax.data.inspect"]
    done = subprocess.run([*command, str(pictures)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    with Image.open(pictures / "contact_sheet.png") as sheet:
        assert sheet.size == (4 * 66 + 2, 68)
    by_name = [*command, "--name=flowers", f"--data_dir={pictures.parent}", f"--output={tmp_path / 'sheet.png'}"]
    named = subprocess.run(by_name, capture_output=True, text=True, check=False, cwd=ROOT)
    assert named.returncode == 0, named.stderr
    assert named.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    with pytest.raises(DatasetError, match="holds no prepared data set, expected"):
        describe(tmp_path, "train", 1)
    with pytest.raises(DatasetError, match="has no split 'test', expected one of train"):
        describe(pictures, "test", 1)
