"""tfds' own builders over small fixtures in the format of the real downloads, without TensorFlow."""

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.errors import DatasetError
from tests.data.odd_images import colours, encoded, write_folder


def write_tar(path: Path, files: dict[str, bytes], mode: Any = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def lend_downloads(monkeypatch: pytest.MonkeyPatch, downloads: dict[str, Path]) -> None:
    """Makes tfds find files here instead of at its addresses."""

    manager = tfds.download.DownloadManager

    def find(self: Any, urls: Any) -> Any:
        return {name: find(self, url) for name, url in urls.items()} if isinstance(urls, dict) else downloads[urls]

    monkeypatch.setattr(manager, "download", find)
    monkeypatch.setattr(manager, "download_and_extract", lambda self, urls: self.extract(find(self, urls)))


def prepare_named(name: str, root: Path, settings: FitSettings | None = None, output: Path | None = None) -> Path:
    done = prepare_set(Options(name, output, root, settings))
    assert "tensorflow" not in sys.modules
    return done.directory


def elements(name: str, root: Path, split: str = "train") -> list[Any]:
    return list(tfds.data_source(name, split=split, data_dir=root))  # type: ignore[arg-type]


@pytest.fixture
def celeb_a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tensorflow_datasets.datasets.celeb_a import celeb_a_dataset_builder as celeb_a

    names = [f"{number:06d}.jpg" for number in range(1, 7)]
    pictures = {f"img_align_celeba/{name}": encoded(colours(i, 218, 178), "JPEG") for i, name in enumerate(names)}
    write_tar(tmp_path / "img_align_celeba.tar", pictures, "w")

    def table(headings: list[str], row: str) -> str:
        return "\n".join([str(len(names)), " ".join(headings), *(f"{name} {row}" for name in names), ""])

    texts = {
        "list_eval_partition.txt": "".join(f"{name} {max(0, index - 3)}\n" for index, name in enumerate(names)),
        "list_attr_celeba.txt": table(celeb_a.ATTR_HEADINGS, " ".join(["1", "-1"] * 20)),
        "list_landmarks_align_celeba.txt": table(celeb_a.LANDMARK_HEADINGS, "1 2 3 4 5 6 7 8 9 10"),
        "identity_CelebA.txt": "".join(f"{name} {index}\n" for index, name in enumerate(names)),
    }
    write_folder(tmp_path, {name: text.encode() for name, text in texts.items()})
    addresses = (celeb_a.EVAL_LIST, celeb_a.ATTR_DATA, celeb_a.LANDMARKS_DATA, celeb_a.IDENTITY_DATA)
    downloads = {url: tmp_path / name for url, name in zip(addresses, texts, strict=True)}
    lend_downloads(monkeypatch, downloads | {celeb_a.IMG_ALIGNED_DATA: tmp_path / "img_align_celeba.tar"})
    return tmp_path / "root"


def test_celeb_a_is_prepared_by_name(celeb_a: Path) -> None:
    assert prepare_named("celeb_a", celeb_a) == celeb_a / "celeb_a" / "2.1.0"
    found = elements("celeb_a", celeb_a)
    assert len(found) == 4
    assert {element["image"].shape for element in found} == {(218, 178, 3)}
    assert len(elements("celeb_a", celeb_a, "test")) == 1


def test_celeb_a_is_fitted_to_one_size(celeb_a: Path) -> None:
    prepare_named("celeb_a", celeb_a, FitSettings(16, 16), celeb_a / "faces16")
    found = elements("faces16", celeb_a)
    assert [element["image"].shape for element in found] == [(16, 16, 3)] * 4


def test_cifar10_is_prepared_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (3, 3073), dtype=np.uint8)
    rows[:, 0] = (3, 1, 9)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    classes = "\n".join("abcdefghij").encode()
    files = dict.fromkeys(names, rows.tobytes()) | {"batches.meta.txt": classes}
    archive = write_tar(
        tmp_path / "cifar.tar.gz", {f"cifar-10-batches-bin/{name}": data for name, data in files.items()}
    )
    lend_downloads(monkeypatch, {"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz": archive})
    prepare_named("cifar10", tmp_path / "root")
    found = {element["id"]: element for element in elements("cifar10", tmp_path / "root")}
    assert len(found) == 15
    np.testing.assert_array_equal(found[b"train_00001"]["image"], rows[1, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert found[b"train_00001"]["label"] == 1


def test_tf_flowers_is_prepared_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"flower_photos/{name}/1.jpg": encoded(colours(0, 9, 7), "JPEG") for name in ("tulips", "roses")}
    archive = write_tar(tmp_path / "flower_photos.tgz", files | {"flower_photos/LICENSE.txt": b""})
    url = "http://download.tensorflow.org/example_images/flower_photos.tgz"
    lend_downloads(monkeypatch, {url: archive})
    prepare_named("tf_flowers", tmp_path / "root")
    assert sorted(element["label"] for element in elements("tf_flowers", tmp_path / "root")) == [2, 4]


def test_celeb_a_hq_is_prepared_from_its_tar(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "downloads" / "manual").mkdir(parents=True)
    files = {f"imgHQ{number:05d}.png": encoded(colours(number, 16, 16)) for number in range(3)}
    write_tar(root / "downloads" / "manual" / "data16x16.tar", files, "w")
    prepare_named("celeb_a_hq/16", root)
    found = {element["image/filename"].decode(): element["image"] for element in elements("celeb_a_hq/16", root)}
    np.testing.assert_array_equal(found["imgHQ00002.png"], colours(2, 16, 16))


def test_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, urls: Any) -> Any:
        raise ConnectionError(f"no way to {urls}\nand more")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", fail)
    with pytest.raises(
        DatasetError, match=r"tfds cannot prepare 'tf_flowers' in .* \(ConnectionError: no way"
    ) as caught:
        prepare_named("tf_flowers", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match=r"tfds cannot make 'celeb_a_hq/17'"):
        prepare_named("celeb_a_hq/17", tmp_path)
