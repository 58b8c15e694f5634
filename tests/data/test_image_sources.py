"""Folders, zips and labels, listed."""

import contextlib
import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from inr_gan_jax.data.prepare.sources import list_folder, list_zip
from inr_gan_jax.errors import DatasetError
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
    path = write_zip(tmp_path / "set.zip", {"a.png": IMAGE}, [["a.png", 0]])
    assert list_zip(path, "none").class_names == ()


def test_an_image_may_be_listed_twice_with_one_label(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": IMAGE}, [["a.png", 0], ["./a.png", 0]])
    assert list_zip(path, "json").labels == {"a.png": 0}


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


def test_folders_of_a_split_are_not_taken_for_classes(tmp_path: Path) -> None:
    names = ("train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "train/stray.png")
    write_folder(tmp_path, dict.fromkeys(names, IMAGE))
    with pytest.raises(DatasetError, match=r"train, val.*--label_level=2 .*\(cat, dog\), or --label_level=1"):
        list_folder(tmp_path, "folders")
    contents = list_folder(tmp_path, "folders", 2)
    assert contents.labels == dict(zip(names, (0, 1, 0, None), strict=True))
    assert contents.class_names == ("cat", "dog")
    assert list_folder(tmp_path, "folders", 1).class_names == ("train", "val")


def test_one_folder_around_all_classes_is_not_taken_for_the_only_class(tmp_path: Path) -> None:
    names = ("photos/cat/1.png", "photos/dog/1.png")
    path = write_zip(tmp_path / "set.zip", dict.fromkeys(names, IMAGE))
    with pytest.raises(DatasetError, match=r"photos looks like the only folder; .*--label_level=2"):
        list_zip(path, "folders")
    assert list_zip(path, "folders", 2).labels == {"photos/cat/1.png": 0, "photos/dog/1.png": 1}
    plain = write_zip(tmp_path / "plain.zip", {"cat/1.png": IMAGE})
    assert list_zip(plain, "folders").class_names == ("cat",)


LABELS = {"a/1.png": 1, "a/2.png": 0}


@pytest.mark.parametrize("separator", ["\\", "/"])
@pytest.mark.parametrize("written", ["a\\{}", "./a/{}", ".\\a\\{}", "a//{}"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_names_written_by_any_system_match(tmp_path: Path, kind: str, written: str, separator: str) -> None:
    labels = [[written.format(name.split("/")[1]), label] for name, label in LABELS.items()]
    files = {name.replace("/", separator): IMAGE for name in LABELS}
    if kind == "zip":
        contents = list_zip(write_zip(tmp_path / "set.zip", files, labels), "json")
    else:
        write_folder(tmp_path, files | {"dataset.json": json.dumps({"labels": labels}).encode()})
        contents = list_folder(tmp_path, "json")
    assert contents.labels == dict(zip(files, LABELS.values(), strict=True))
    assert contents.absent == ()
    assert [contents.reader.read(name) for name in contents.names] == [IMAGE, IMAGE]


def test_zip_of_windows_has_folders_and_labels(tmp_path: Path) -> None:
    files = {"cat\\": b"", "cat\\1.png": IMAGE, "dog\\1.png": IMAGE, "__MACOSX\\x.png": IMAGE}
    contents = list_zip(write_zip(tmp_path / "set.zip", files), "folders")
    assert contents.labels == {"cat\\1.png": 0, "dog\\1.png": 1}
    assert contents.ignored == {}


def test_members_of_one_name_are_refused_unless_they_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.png", IMAGE)
        archive.writestr("a\\b.png", IMAGE)
    with pytest.raises(DatasetError, match=r"'a/b\.png' and 'a\\\\b\.png'"):
        list_zip(path, "json")
    for second, is_refused in ((IMAGE, False), (IMAGE + b" ", True)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("c.png", IMAGE)
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("c.png", second)
        with pytest.raises(DatasetError, match=r"'c\.png'") if is_refused else contextlib.nullcontext():
            assert list(list_zip(path, "json").names) == ["c.png"]


def test_links_to_folders_are_followed_and_circles_are_counted(tmp_path: Path) -> None:
    elsewhere = write_folder(tmp_path / "elsewhere", {"1.png": IMAGE, "deep/2.png": IMAGE, "x.heic": b""})
    root = write_folder(tmp_path / "root", {"own/0.png": IMAGE})
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "deep" / "back").symlink_to(elsewhere)
    (root / "self").symlink_to(root)
    contents = list_folder(root, "folders")
    assert contents.labels == {"linked/1.png": 0, "linked/deep/2.png": 0, "own/0.png": 1}
    assert sum(contents.ignored.values()) == 3
    assert contents.ignored[".heic"] == 1
    assert contents.reader.read("linked/deep/2.png") == IMAGE


def test_folders_that_cannot_be_read_are_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, {"1.png": IMAGE, "locked/2.png": IMAGE})
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"locked cannot be read \(Permission denied\)"):
        list_folder(tmp_path, "json")


@pytest.mark.parametrize("file", ["set-train.array_record-00000-of-00001", "set-train.tfrecord-00000-of-00001"])
def test_prepared_sets_are_not_sources(tmp_path: Path, file: str) -> None:
    write_folder(tmp_path / "set", {f"1.0.0/{file}": b"", "contact_sheet.png": IMAGE})
    with pytest.raises(DatasetError, match=r"set holds a prepared data set \(1\.0\.0/set-train"):
        list_folder(tmp_path / "set", "json")


@pytest.mark.parametrize(("name", "kind"), [("one.jpg", "one image"), ("set.tar", "a file, but not a zip")])
def test_files_that_are_no_zip_are_called_what_they_are(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(IMAGE)
    with pytest.raises(DatasetError, match=f"{name} is {kind}, expected a folder or a zip of images"):
        list_zip(tmp_path / name, "json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"not a list of labels \(JSONDecodeError"),
        ('{"label": []}', "not a list of labels"),
        ('{"labels": 3}', "labels 3, which are not a list"),
        ('{"labels": [["a.png"]]}', r"entry \['a.png'\], which is not a pair"),
        ('{"labels": [["a.png", 0.5]]}', "'a.png' the label 0.5, expected a class number"),
        ('{"labels": [["a.png", -1]]}', "'a.png' the label -1, expected a class number"),
        ('{"labels": [["a.png", true]]}', "'a.png' the label True, expected a class number"),
        ('{"labels": [["a.png", 0], ["./a.png", 1]]}', "'a.png' twice, with the labels 0 and 1"),
        ('{"labels": {"a.png": 0, "a.png": 1}}', "'a.png' twice, with the labels 0 and 1"),
        ('{"labels": [["a.png", 0], ["b.png", 3]]}', "no image to classes 1, 2, although its labels go up to 3"),
        ('{"labels": [["a.png", 1]]}', "no image to class 0, .*number the 1 classes from 0 to 0"),
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
    with pytest.raises(DatasetError, match=r"half.zip is not a complete zip, copy or download it again"):
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
