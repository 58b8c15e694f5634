"""LSUN from the official folders, written like tfds' own builder, and trained on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from inr_gan_jax.data.builders.lsun import find_lsun
from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.preparation import preparation
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.prepare.sources import list_lmdb
from inr_gan_jax.data.read.decode import decode_image
from inr_gan_jax.errors import DatasetError
from tests.data.odd_images import colours, encoded

ROOT = Path(__file__).resolve().parents[2]


def write_lmdb(folder: Path, images: dict[str, bytes]) -> Path:
    """An LMDB as the download script of LSUN leaves it: keys of 40 hexadecimal digits, encoded images."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for key, data in images.items():
            transaction.put(key.encode(), data)
    return folder


def photos(count: int, first: int = 0) -> dict[str, bytes]:
    """JPEG and WebP in turn, the shorter side 24."""
    pictures = [colours(first + index, 24, 24 + index % 9) for index in range(count)]
    kinds = (("WEBP", {"quality": 75}), ("JPEG", {"quality": 75}))
    return {
        f"{first + i:040x}": encoded(picture, kinds[i % 2][0], **kinds[i % 2][1]) for i, picture in enumerate(pictures)
    }


@pytest.fixture(scope="module")
def lsun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lsun")
    write_lmdb(root / "church_outdoor_train_lmdb", photos(20))
    write_lmdb(root / "church_outdoor_val_lmdb", photos(3, 100))
    prepare_set(Options(str(root / "church_outdoor_train_lmdb"), None, root, None))
    return root


def test_tfds_reads_it_by_its_own_name(lsun: Path) -> None:
    expected = photos(20)
    source: Any = tfds.data_source("lsun/church_outdoor", split="train", data_dir=lsun)
    assert len(source) == 20
    for element in source:
        image = expected[element["id"].decode()]
        np.testing.assert_array_equal(element["image"], decode_image(image))
    assert len(tfds.data_source("lsun/church_outdoor", split="validation", data_dir=lsun)) == 3  # type: ignore[arg-type]


def test_name_version_and_features_are_those_of_tfds(lsun: Path, tmp_path: Path) -> None:
    theirs = tfds.builder("lsun/church_outdoor", data_dir=str(tmp_path))
    ours = tfds.builder_from_directory(str(lsun / "lsun" / "church_outdoor" / "3.1.0"))
    assert (ours.info.full_name, ours.info.version) == (theirs.info.full_name, theirs.info.version)
    assert repr(ours.info.features) == repr(theirs.info.features)


def test_bytes_are_those_of_the_lmdb(lsun: Path) -> None:
    source: Any = tfds.data_source(
        "lsun/church_outdoor", split="train", data_dir=lsun, decoders={"image": tfds.decode.SkipDecoding()}
    )
    assert {element["id"].decode(): element["image"] for element in source} == photos(20)
    assert preparation(lsun / "lsun" / "church_outdoor")["filter"] is None


def test_with_a_size_it_becomes_a_set_of_one_size(lsun: Path) -> None:
    source = str(lsun / "church_outdoor_train_lmdb")
    done = prepare_set(Options(source, lsun / "church16", lsun, FitSettings(16, 16)))
    element: Any = tfds.data_source("church16", split="train", data_dir=lsun)[0]
    assert element["image"].shape == (16, 16, 3)
    assert "20 images" in done.lines[0]


def test_folders_are_known_by_their_names(lsun: Path, tmp_path: Path) -> None:
    train, val = lsun / "church_outdoor_train_lmdb", lsun / "church_outdoor_val_lmdb"
    assert find_lsun(val) == ("church_outdoor", {"train": train, "validation": val})
    cats = write_lmdb(tmp_path / "cat", photos(1))
    assert find_lsun(cats) == ("cat", {"train": cats})
    assert find_lsun(write_lmdb(tmp_path / "mine_train_lmdb", photos(1))) is None
    assert find_lsun(tmp_path) is None


def test_damaged_lmdb_is_one_sentence(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "tower_train_lmdb", photos(2))
    (folder / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(DatasetError, match=r"tower_train_lmdb cannot be opened as an LMDB .*, download it again"):
        prepare_set(Options(str(folder), None, tmp_path, None))


def test_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_lmdb(tmp_path / "tower_train_lmdb", photos(2))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DatasetError, match=r"needs the package lmdb: pip install 'inr_gan_jax\[lsun\]'"):
        list_lmdb(folder)


@pytest.mark.slow
def test_training_on_it_runs(lsun: Path, tmp_path: Path) -> None:
    # One block, no second derivatives: what counts here is the way of the images.
    keys = {
        "data.height": 8, "data.width": 8, "paper.z_dim": 8, "paper.mapping_dim": 16, "paper.num_mapping_layers": 1,
        "paper.rank": 2, "paper.features": "(8,)", "paper.num_layers": "(1,)", "paper.num_fourier_features": "(4,)",
        "paper.fourier_scale": "(3.0,)", "paper.max_num_fixed_features": "(0,)", "paper.to_rgb": "(True,)",
        "paper.first_dense_block": 0, "discriminator.channel_base": 64, "discriminator.channel_max": 8,
        "loss.r1_gamma": 0.0, "training.batch_size": 4, "training.total_kimg": 0.008, "training.sample_kimg": 0.0,
        "compilation_cache_dir": "",
    }  # fmt: skip
    overrides = [f"--config.{key}={value}" for key, value in keys.items()]
    done = subprocess.run(
        [sys.executable, "-m", "inr_gan_jax.main", "--config=configs/lsun.py", f"--workdir={tmp_path}/run", *overrides],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "TFDS_DATA_DIR": str(lsun), "XLA_FLAGS": "--xla_backend_optimization_level=0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()
