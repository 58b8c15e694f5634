"""What is refused when a set is opened, each in one sentence that says what to do."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from etils.epath import backend

from inr_gan_jax.data.builders.lsun import VERSION
from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.preparation import (
    METADATA_FILE,
    UNFINISHED,
    SetIdentity,
    dataset_fingerprint,
    preparation,
    set_identity,
)
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.read.dataset import check_available, open_dataset
from inr_gan_jax.errors import DatasetError, UserError
from tests.conftest import tiny_config
from tests.data.odd_images import SIDE, colours, encoded, write_folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a labelled set `pictures` and one without labels, `plain`."""
    root = tmp_path_factory.mktemp("root")
    files = {f"{'ab'[index % 2]}/{index}.png": encoded(colours(index)) for index in range(6)}
    source = write_folder(root / "source", files)
    for name, labels in (("pictures", "folders"), ("plain", "json")):
        prepare_set(Options(str(source), root / name, root, FitSettings(SIDE, SIDE), labels=labels))  # type: ignore[arg-type]
    return root


def refusal(root: Path | str, **keys: Any) -> str:
    """What opening says, which must be what the check before any work says."""
    config = dataclasses.replace(tiny_config().data, data_dir=str(root), height=SIDE, width=SIDE, **keys)
    sentences = set()
    for function in (check_available, open_dataset):
        with pytest.raises(UserError) as caught:
            function(config)
        sentences.add(str(caught.value))
    (sentence,) = sentences
    assert "\n" not in sentence
    return sentence


def copy_of(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "pictures", tmp_path / "pictures")
    return tmp_path / "pictures" / "1.0.0"


def test_prepared_folder_is_opened_with_its_labels(prepared: Path) -> None:
    config = dataclasses.replace(
        tiny_config().data, name="pictures", data_dir=str(prepared), height=SIDE, width=SIDE, num_classes=2
    )
    check_available(config)
    dataset = open_dataset(config)
    assert (len(dataset), dataset.num_classes) == (6, 2)
    assert dataset.directory == prepared / "pictures" / "1.0.0"


def test_a_set_can_be_named_by_its_path(prepared: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny_config().data, name=str(prepared / "plain"), data_dir=str(tmp_path), height=SIDE, width=SIDE
    )
    assert len(open_dataset(config)) == 6


def test_unknown_name_gives_the_nearest_and_the_command(prepared: Path) -> None:
    sentence = refusal(prepared, name="picture")
    assert f"'picture' is not prepared: expected {prepared}/picture/<version>/dataset_info.json" in sentence
    assert "nearest: pictures" in sentence
    assert (
        "run python -m inr_gan_jax.data.prepare --source=<folder, zip or tfds name> --resolution=<pixels>" in sentence
    )
    assert sentence.endswith(f"--output={prepared}/picture")
    assert "--source=cifar10 " in refusal(prepared, name="cifar10")


def test_lsun_says_which_folder_to_put_where(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, name="lsun/church_outdoor")
    assert f"expected {tmp_path}/lsun/church_outdoor/{VERSION}" in sentence
    assert "get the folder church_outdoor_train_lmdb with the script of https://github.com/fyu/lsun" in sentence
    assert "python -m inr_gan_jax.data.prepare --source=<there>/church_outdoor_train_lmdb" in sentence
    assert "--source=<there>/cat " in refusal(tmp_path, name="lsun/cat")


def test_empty_root_lists_what_prepares_itself(tmp_path: Path) -> None:
    assert "known: celeb_a, celeb_a_hq/256, cifar10, digits, tf_flowers" in refusal(tmp_path, name="zebras")


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (16, 32)])
def test_wrong_resolution_is_refused(prepared: Path, size: tuple[int, int]) -> None:
    config = dataclasses.replace(
        tiny_config().data, name="plain", data_dir=str(prepared), height=size[0], width=size[1]
    )
    message = (
        rf"images of plain are 16x16, but config.data asks for {size[0]}x{size[1]}; --config=configs/folder.py:16 fits"
        "; otherwise prepare the set at that size, or set config.data.height=16"
    )
    with pytest.raises(DatasetError, match=message):
        check_available(config)


def test_labels_missing_for_a_conditional_configuration_are_refused(prepared: Path) -> None:
    sentence = refusal(prepared, name="plain", num_classes=2)
    assert "num_classes is 2, but plain has no labels; set it to 0, or prepare the set with a dataset.json" in sentence
    assert "num_classes is 5, but pictures has 2" in refusal(prepared, name="pictures", num_classes=5)


@pytest.mark.parametrize("name", ["digits", "photos"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("gs://bucket/sets", "data_dir=gs://bucket/sets needs the package gcsfs, which is missing: pip install gcsfs"),
        ("s3://bucket/sets", "data_dir=s3://bucket/sets needs the package s3fs, which is missing: pip install s3fs"),
        ("http://host/sets", "data_dir=http://host/sets starts with http://, expected a path on a disk or gs://"),
    ],
)
def test_places_that_cannot_be_reached_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str, message: str
) -> None:
    def missing(self: Any, path: Any) -> Any:
        raise ImportError("the package is missing")

    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", missing)
    sentence = refusal(place, name=name)
    assert message in sentence
    assert message.replace("data_dir", "name") in refusal(tmp_path, name=place)


def test_a_bucket_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, path: Any) -> Any:
        raise PermissionError("Anonymous caller does not have storage.objects.list access\nmore")

    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", refuse)
    sentence = refusal("gs://bucket/sets", name="digits")
    assert "config.data.data_dir=gs://bucket/sets cannot be reached (Anonymous caller does" in sentence
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/others")
    assert refusal("", name="digits").startswith("$TFDS_DATA_DIR=gs://bucket/others cannot be reached")


def test_identity_tells_sets_apart(prepared: Path, digits_root: Path) -> None:
    directory = digits_root / "digits"
    assert set_identity(directory, 3) == set_identity(directory / "1.0.0", 3)
    first, second = (set_identity(prepared / name, 6) for name in ("pictures", "plain"))
    first.check_same(first, "pictures", "advice")
    with pytest.raises(DatasetError, match=rf"other images .* {first.fingerprint[:12]} then, .*; advice"):
        first.check_same(second, "pictures", "advice")
    with pytest.raises(DatasetError, match="20 images then, 30 now"):
        SetIdentity(20, "a").check_same(SetIdentity(30, "a"), "pictures", "advice")


def test_identity_follows_the_shards_of_sets_of_others(digits_root: Path, tmp_path: Path) -> None:
    shutil.copytree(digits_root / "digits", tmp_path / "digits")
    assert set_identity(tmp_path / "digits", 1) == set_identity(digits_root / "digits", 1)
    shard = next((tmp_path / "digits" / "1.0.0").glob("*.array_record*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert set_identity(tmp_path / "digits", 1) != set_identity(digits_root / "digits", 1)


@pytest.mark.parametrize("version", [0, 2, None])
def test_sets_of_other_versions_of_the_program_are_refused(prepared: Path, tmp_path: Path, version: Any) -> None:
    file = copy_of(prepared, tmp_path) / METADATA_FILE
    metadata = json.loads(file.read_text())
    metadata["preparation"]["format"] = version
    file.write_text(json.dumps(metadata))
    sentence = refusal(tmp_path, name="pictures")
    assert f"was prepared in format {version}, by an older or newer version than this one (format 1)" in sentence
    assert "run python -m inr_gan_jax.data.prepare again" in sentence


def test_half_written_sets_are_refused(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "begun" / UNFINISHED).mkdir(parents=True)
    assert "'begun' is incomplete" in (sentence := refusal(tmp_path, name="begun"))
    assert "run the same python -m inr_gan_jax.data.prepare command again, it resumes where it stopped" in sentence
    (tmp_path / "other" / "1.0.0.incompleteX1").mkdir(parents=True)
    assert "delete that folder and prepare the set again" in refusal(tmp_path, name="other")
    shard = next(copy_of(prepared, tmp_path).glob("*.array_record*"))
    shard.write_bytes(b"")
    assert f"data set pictures is incomplete, {shard} is missing" in refusal(tmp_path, name="pictures")
    shard.unlink()
    assert f"data set pictures is incomplete, {shard} is missing" in refusal(tmp_path, name="pictures")


def test_damaged_shards_are_one_sentence(prepared: Path, tmp_path: Path) -> None:
    shard = next(copy_of(prepared, tmp_path).glob("*.array_record*"))
    shard.write_bytes(bytes(shard.stat().st_size))
    config = dataclasses.replace(tiny_config().data, name="pictures", data_dir=str(tmp_path), height=SIDE, width=SIDE)
    with pytest.raises(DatasetError, match="pictures cannot be read"):
        open_dataset(config)


def test_other_formats_are_refused(prepared: Path, tmp_path: Path) -> None:
    file = copy_of(prepared, tmp_path) / "dataset_info.json"
    file.write_text(file.read_text().replace('"array_record"', '"tfrecord"'))
    sentence = refusal(tmp_path, name="pictures")
    assert "pictures is not stored as array_record; delete" in sentence


def test_sets_of_others_have_a_fingerprint_and_no_preparation(digits_root: Path, tmp_path: Path) -> None:
    assert preparation(digits_root / "digits") == {}
    first = dataset_fingerprint(digits_root / "digits")
    shutil.copytree(digits_root / "digits", tmp_path / "digits")
    assert dataset_fingerprint(tmp_path / "digits" / "1.0.0") == first
    shard = next((tmp_path / "digits" / "1.0.0").glob("*.array_record*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert dataset_fingerprint(tmp_path / "digits") != first
    with pytest.raises(DatasetError, match="holds no prepared data set"):
        dataset_fingerprint(tmp_path)
