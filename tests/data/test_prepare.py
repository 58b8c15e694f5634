"""Whole preparations: what is written, what is left out, and what a kill changes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.preparation import UNFINISHED, dataset_fingerprint, preparation
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.data.prepare.records import RecordSource, open_records
from inr_gan_jax.errors import DatasetError
from tests.data.odd_images import SIDE, bomb, broken, colours, convertible, encoded, write_folder, write_zip

ROOT = Path(__file__).resolve().parents[2]
TOTAL = len(convertible()) + len(broken())


def options(source: Path, output: Path, **keys: Any) -> Options:
    return Options(str(source), output, output.parent, FitSettings(SIDE, SIDE), **keys)


def images(directory: Path) -> list[np.ndarray]:
    source = open_records(directory, "train")
    return [source[index]["image"] for index in range(len(source))]


def names(source: RecordSource) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def numbered(count: int) -> dict[str, bytes]:
    return {f"{number:04d}.png": encoded(np.full((SIDE, SIDE, 3), number % 251, np.uint8)) for number in range(count)}


def contents_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All odd and broken kinds in nested folders, and a bomb."""
    root = tmp_path_factory.mktemp("dirty")
    write_folder(root, {f"odd/{name}": data for name, data in convertible().items()})
    write_folder(root, {f"broken/{name}": data for name, data in broken().items()})
    return write_folder(root, {"bomb.png": bomb(20_000), "notes.txt": b"", "x.svg": b""})


def test_dirt_is_converted_or_reported(dirty: Path, tmp_path: Path) -> None:
    done = prepare_set(options(dirty, tmp_path / "set", max_bad=0.5))
    assert done.directory == tmp_path / "set" / "1.0.0"
    source = open_records(done.directory, "train")
    assert names(source) == sorted(f"odd/{name}" for name in convertible())
    assert {image.shape for image in images(done.directory)} == {(SIDE, SIDE, 3)}
    report = json.loads((tmp_path / "set" / "report.json").read_text())
    assert [name for name, _ in report["bad"]] == ["bomb.png", *sorted(f"broken/{name}" for name in broken())]
    assert all(reason for _, reason in report["bad"])
    assert report["ignored_files"] == {".txt": 1, ".svg": 1}
    assert not (tmp_path / "set" / UNFINISHED).exists()


def test_more_dirt_than_allowed_stops_and_lists_it(dirty: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"1 of {TOTAL + 1} images cannot be used so far, such as 'bomb.png'"):
        prepare_set(options(dirty, tmp_path / "set"))
    assert json.loads((tmp_path / "set" / "report.json").read_text())["bad"][0][0] == "bomb.png"
    with pytest.raises(DatasetError, match=r"max_bad=0.1 allows 2; fix them or allow more"):
        prepare_set(options(dirty, tmp_path / "set", max_bad=0.1))
    assert not (tmp_path / "set" / "1.0.0").exists()


def test_worker_processes_change_nothing(dirty: Path, tmp_path: Path) -> None:
    for num_processes in (1, 2):
        prepare_set(options(dirty, tmp_path / str(num_processes), max_bad=0.5, num_processes=num_processes))
    assert contents_of(tmp_path / "1") == contents_of(tmp_path / "2")


def test_folder_and_zip_give_the_same_set(tmp_path: Path) -> None:
    files = numbered(7)
    labels = [[name, index % 3] for index, name in enumerate(files)]
    folder = write_folder(tmp_path / "folder", files)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    sources = (folder, write_zip(tmp_path / "set.zip", files, labels))
    directories = [prepare_set(options(path, tmp_path / f"set{i}")).directory for i, path in enumerate(sources)]
    assert dataset_fingerprint(directories[0]) == dataset_fingerprint(directories[1])
    source = open_records(directories[0], "train")
    for index in range(7):
        np.testing.assert_array_equal(source[index]["image"], colours(0) * 0 + index)
        assert source[index]["label"] == index % 3


def test_tfds_reads_what_was_written(tmp_path: Path) -> None:
    files = numbered(5)
    path = write_zip(tmp_path / "set.zip", files, [[name, int(name > "0002.png")] for name in files])
    prepare_set(options(path, tmp_path / "my_photos"))
    source: Any = tfds.data_source("my_photos", split="train", data_dir=tmp_path)
    assert len(source) == 5
    element = source[3]
    assert (element["image"] == 3).all()
    assert (element["label"], element["id"]) == (1, b"0003.png")


def test_missing_and_surplus_labels_count_as_bad(tmp_path: Path) -> None:
    files = numbered(4)
    path = write_zip(tmp_path / "set.zip", files, [["0000.png", 0], ["0001.png", 1], ["0002.png", 1], ["gone.png", 0]])
    with pytest.raises(DatasetError, match=r"of 5 images cannot be used so far.*max_bad=0.001 allows 0"):
        prepare_set(options(path, tmp_path / "set"))
    done = prepare_set(options(path, tmp_path / "set", max_bad=0.4))
    assert names(open_records(done.directory, "train")) == ["0000.png", "0001.png", "0002.png"]
    assert json.loads((tmp_path / "set" / "report.json").read_text())["bad"] == [
        ["0003.png", "it has no label"],
        ["gone.png", "named in dataset.json, but missing"],
    ]


def test_how_it_was_made_is_recorded(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", numbered(3))
    settings = FitSettings(8, 12, crop="none", resize_filter="lanczos", image_format="jpeg")
    prepare_set(dataclasses.replace(options(path, tmp_path / "set"), settings=settings))
    made = preparation(tmp_path / "set")
    expected = {"crop": "none", "filter": "lanczos", "image_format": "jpeg", "height": 8, "width": 12, "channels": 3}
    assert {name: made[name] for name in expected} == expected
    assert made["source"] == "photos"
    assert made["encoder"] == {"quality": 95, "subsampling": 0}


def test_fingerprint_follows_pixels_and_labels_only(tmp_path: Path) -> None:
    files = numbered(3)
    kinds = {
        "plain": (files, None),
        "elsewhere": (files, None),
        "labelled": (files, [[name, 0] for name in files]),
        "other": (files | {"0002.png": files["0001.png"]}, None),
    }
    prints = {
        name: dataset_fingerprint(
            prepare_set(options(write_zip(tmp_path / f"{name}.zip", *kind), tmp_path / name)).directory
        )
        for name, kind in kinds.items()
    }
    assert prints["plain"] == prints["elsewhere"]
    assert len(set(prints.values())) == 3


def test_done_again_it_says_so_and_otherwise_it_refuses(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", numbered(3))
    prepare_set(options(path, tmp_path / "set"))
    before = contents_of(tmp_path / "set")
    assert "is already prepared" in prepare_set(options(path, tmp_path / "set")).lines[0]
    lanczos = FitSettings(SIDE, SIDE, resize_filter="lanczos")
    with pytest.raises(DatasetError, match="its filter is box, not lanczos; delete it or choose another --output"):
        prepare_set(dataclasses.replace(options(path, tmp_path / "set"), settings=lanczos))
    write_folder(path, numbered(4))
    with pytest.raises(DatasetError, match="its source is other files, not these"):
        prepare_set(options(path, tmp_path / "set"))
    assert contents_of(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"settings": None}, "the size is missing, expected --resolution=256"),
        ({"output": None}, "--output is missing"),
        ({"source": "/nowhere/photos"}, "source /nowhere/photos does not exist, expected a folder, a zip"),
        (
            {"source": "no_such_set_of_tfds", "settings": None, "output": None},
            "neither a folder or a zip nor a data set",
        ),
        ({"source": "lsun/tower"}, "lsun/tower is not downloaded automatically: get its folder"),
        (
            {"source": "cifar10", "settings": None},
            "needs --resolution; without it cifar10 is prepared in its own folder",
        ),
        ({"labels": "folders"}, "has no sub-folders with images, expected one for each class"),
        ({"labels": "folders", "label_level": 2}, "has no sub-folders, 2 deep, with images"),
        ({"label_level": 2}, "--label_level=2 needs --labels=folders, but --labels is json"),
        ({"source": "gs://bucket/photos"}, "--source=gs://bucket/photos is not on a disk; copy it to one first"),
    ],
)
def test_impossible_options_are_one_sentence(tmp_path: Path, keys: dict, message: str) -> None:
    path = write_folder(tmp_path / "photos", numbered(1))
    with pytest.raises(DatasetError, match=message) as caught:
        prepare_set(dataclasses.replace(options(path, tmp_path / "set"), **keys))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty holds no images \(it is empty\)"):
        prepare_set(options(tmp_path / "empty", tmp_path / "set"))
    write_folder(tmp_path / "texts", {"a.txt": b"", "b.heic": b""})
    with pytest.raises(DatasetError, match=r"texts holds no images \(1 .heic, 1 .txt\), expected PNG"):
        prepare_set(options(tmp_path / "texts", tmp_path / "set"))


def test_closing_lines_tell_what_was_not_looked_at_and_the_classes(tmp_path: Path) -> None:
    files = {f"{'ab'[index % 2]}/{name}": data for index, (name, data) in enumerate(numbered(5).items())}
    path = write_folder(tmp_path / "photos", files | {"a/1.HEIC": b"", "b/2.heic": b"", "notes.txt": b""})
    lines = prepare_set(options(path, tmp_path / "set", labels="folders")).lines
    assert "files of other kinds, ignored: 2 .heic, 1 .txt" in lines
    assert "2 classes: a 3, b 2" in lines


def test_named_classes_without_an_image_are_told(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", numbered(2))
    labels = {"labels": {"0000.png": 0, "0001.png": 2}, "classes": ["rose", "tulip", "lily"]}
    (path / "dataset.json").write_text(json.dumps(labels))
    lines = prepare_set(options(path, tmp_path / "set")).lines
    assert "3 classes: rose 1, tulip 0, lily 1" in lines
    assert "classes without an image: tulip (1 in all)" in lines


def test_labels_of_another_level_are_another_set(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", {f"train/{name[:4]}/x.png": data for name, data in numbered(2).items()})
    prepare_set(options(path, tmp_path / "set", labels="folders", label_level=2))
    assert preparation(tmp_path / "set")["labels"] == "folders:2"
    with pytest.raises(DatasetError, match="its labels is folders:2, not folders"):
        prepare_set(options(path, tmp_path / "set", labels="folders", label_level=1))


def test_output_inside_the_source_is_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", numbered(1))
    with pytest.raises(DatasetError, match="is inside the source"):
        prepare_set(options(path, path / "prepared"))


def test_records_take_little_more_than_the_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    files = {f"{index}.png": encoded(image) for index, image in enumerate(noise)}
    path = write_folder(tmp_path / "photos", files)
    kept = dataclasses.replace(options(path, tmp_path / "set"), settings=FitSettings(64, 64))
    directory = prepare_set(kept).directory
    written = sum(file.stat().st_size for file in directory.glob("*.array_record*"))
    assert written <= 1.3 * sum(map(len, files.values()))


def command(source: Path, output: Path) -> list[str]:
    program = [sys.executable, "-m", "inr_gan_jax.data.prepare", f"--source={source}", f"--output={output}"]
    return [*program, f"--resolution={2 * SIDE}", "--num_processes=2"]


@pytest.mark.slow
def test_killed_preparation_goes_on_and_ends_equal(tmp_path: Path) -> None:
    # The last shard is slow, so that the kill comes before it is done.
    large = {f"large{number}.png": encoded(colours(number, 1200, 1200)) for number in range(4)}
    files = numbered(1060) | {f"z{number}.png": large[f"large{number % 4}.png"] for number in range(40)}
    path = write_folder(tmp_path / "photos", files)
    settings = FitSettings(2 * SIDE, 2 * SIDE)
    prepare_set(dataclasses.replace(options(path, tmp_path / "undisturbed"), settings=settings))
    killed = subprocess.Popen(command(path, tmp_path / "killed"), cwd=ROOT, start_new_session=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    shards = tmp_path / "killed" / UNFINISHED / "shards" / "train"
    deadline = time.monotonic() + 120
    while not list(shards.glob("*.json")) and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it ended before it could be killed"
    finished = {file: file.stat().st_mtime_ns for file in shards.glob("*.json")}
    assert 1 <= len(finished) < 3
    wait_for_group_to_end(killed.pid)

    again = subprocess.run(command(path, tmp_path / "killed"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert contents_of(tmp_path / "killed") == contents_of(tmp_path / "undisturbed")


def wait_for_group_to_end(group: int) -> None:
    """Worker processes notice the death of their parent by themselves."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("worker processes outlive the killed parent")


def test_unfinished_work_of_other_options_is_not_gone_on_with(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "photos", numbered(4) | {"z.png": b""})
    with pytest.raises(DatasetError, match=r"z\.png"):
        prepare_set(options(path, tmp_path / "set"))
    grey = FitSettings(SIDE, SIDE, channels=1)
    done = prepare_set(dataclasses.replace(options(path, tmp_path / "set", max_bad=0.3), settings=grey))
    assert images(done.directory)[0].shape == (SIDE, SIDE, 1)


def test_no_part_of_it_loads_tensorflow_or_jax_in_workers() -> None:
    program = (
        "import sys, inr_gan_jax.data.prepare, inr_gan_jax.data.prepare.conversion\n"
        "heavy = {'tensorflow', 'jax', 'grain', 'tensorflow_datasets', 'array_record'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_sides_that_are_no_numbers_are_refused_in_one_sentence() -> None:
    command = [sys.executable, "-m", "inr_gan_jax.data.prepare", "--source=photos", "--resolution=32x32"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --resolution is 32x32, expected a whole number from 4 to 10,000; --height")
    assert done.stderr.count("\n") == 1
