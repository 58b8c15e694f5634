"""Folders, zips and labels, listed."""

import json
from pathlib import Path
from typing import Any

import pytest

from inr_gan_jax.data.errors import DatasetError
from inr_gan_jax.data.image_sources import list_folder, list_zip
from tests.data.odd_images import colours, encoded, write_folder, write_zip

IMAGE = encoded(colours())
NAMES = ("b.png", "a/ä 1.PNG", "a/2.jpeg")


def test_folder_lists_images_by_name_at_any_depth(tmp_path: Path) -> None:
    extra = {"notes.txt": b"", ".hidden.png": IMAGE, "__MACOSX/a.png": IMAGE, ".cache/a.png": IMAGE, "x.heic": b""}
    contents = list_folder(write_folder(tmp_path, dict.fromkeys(NAMES, IMAGE) | extra), "json")
    assert list(contents.names) == sorted(NAMES)
    assert contents.ignored == {".txt": 1, ".heic": 1}
    assert contents.labels == {}
    assert contents.reader.read("a/ä 1.PNG") == IMAGE


def test_zip_lists_images_by_name(tmp_path: Path) -> None:
    files = dict.fromkeys(NAMES, IMAGE) | {"__MACOSX/._b.png": IMAGE, "read me.md": b""}
    contents = list_zip(write_zip(tmp_path / "set.zip", files), "json")
    assert list(contents.names) == sorted(NAMES)
    assert contents.ignored == {".md": 1}
    assert contents.reader.read("b.png") == IMAGE


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_labels_come_from_dataset_json(tmp_path: Path, kind: str) -> None:
    labels = [["b.png", 2], ["a\\ä 1.PNG", 0], ["gone.png", 1]]
    if kind == "zip":
        contents = list_zip(write_zip(tmp_path / "set.zip", dict.fromkeys(NAMES, IMAGE), labels), "json")
    else:
        write_folder(tmp_path, dict.fromkeys(NAMES, IMAGE))
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        contents = list_folder(tmp_path, "json")
    assert contents.labels == {"b.png": 2, "a/ä 1.PNG": 0, "a/2.jpeg": None}
    assert contents.absent == ("gone.png",)
    assert contents.class_names == ("0", "1", "2")


def test_labels_can_be_passed_over(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": IMAGE}, [["a.png", 3]])
    assert list_zip(path, "none").class_names == ()


def test_classes_can_be_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": IMAGE})
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"a.png": 1}, "classes": ["rose", "tulip"]}))
    assert list_folder(tmp_path, "json").class_names == ("rose", "tulip")


def test_json_without_labels_is_no_list_of_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": IMAGE, "dataset.json": b'{"labels": null}'})
    assert list_folder(tmp_path, "json").labels == {}


def test_folders_are_classes_only_when_asked_for(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/x/1.png": IMAGE, "dog/1.png": IMAGE, "stray.png": IMAGE})
    assert list_folder(tmp_path, "json").labels == {}
    contents = list_folder(tmp_path, "folders")
    assert contents.labels == {"cat/x/1.png": 0, "dog/1.png": 1, "stray.png": None}
    assert contents.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"no list of labels \(JSONDecodeError"),
        ('{"label": []}', "no list of labels"),
        ('{"labels": 3}', "labels 3, which are no list"),
        ('{"labels": [["a.png"]]}', r"entry \['a.png'\], which is no pair"),
        ('{"labels": [["a.png", 0.5]]}', "'a.png' the label 0.5, expected a class number"),
        ('{"labels": [["a.png", -1]]}', "'a.png' the label -1, expected a class number"),
        ('{"labels": [["a.png", true]]}', "'a.png' the label True, expected a class number"),
    ],
)
def test_labels_that_cannot_be_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    write_folder(tmp_path, {"a.png": IMAGE, "dataset.json": text.encode()})
    with pytest.raises(DatasetError, match=message) as caught:
        list_folder(tmp_path, "json")
    assert "\n" not in str(caught.value)


def test_half_a_zip_is_one_sentence(tmp_path: Path) -> None:
    data = write_zip(tmp_path / "whole.zip", dict.fromkeys(NAMES, IMAGE)).read_bytes()
    half = tmp_path / "half.zip"
    half.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"half.zip is not a whole zip .*, copy or download it again"):
        list_zip(half, "json")


def changed(path: Path, change: Any) -> bool:
    before = list_folder(path, "json").signature
    change()
    return list_folder(path, "json").signature != before


def test_signature_follows_files_and_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": IMAGE})
    assert not changed(tmp_path, lambda: None)
    assert changed(tmp_path, lambda: write_folder(tmp_path, {"b.png": IMAGE}))
    assert changed(tmp_path, lambda: write_folder(tmp_path, {"b.png": IMAGE + b" "}))
    assert changed(tmp_path, lambda: write_folder(tmp_path, {"dataset.json": b'{"labels": [["a.png", 0]]}'}))
