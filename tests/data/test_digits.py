"""The embedded set, and how sets are found."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inr_gan_jax.data.read.dataset import Dataset, DatasetError, check_available, open_dataset
from tests.conftest import tiny_config


def test_digits_are_those_of_scikit_learn(digits_set: Dataset) -> None:
    source = load_digits(return_X_y=True)
    ours = [digits_set.source[index] for index in range(len(digits_set))]
    theirs = np.round(source[0].reshape(-1, 8, 8, 1) * (255 / 16))
    # tfds shuffles records on writing, so the sets are compared as sets.
    pairs = {(element["image"].tobytes(), int(element["label"])) for element in ours}
    assert pairs == {
        (image.astype(np.uint8).tobytes(), int(label)) for image, label in zip(theirs, source[1], strict=True)
    }
    assert len(digits_set) == 1797
    assert digits_set.num_classes == 10


def test_missing_set_names_the_folder_and_the_nearest(digits_root: Path) -> None:
    config = dataclasses.replace(tiny_config().data, name="digit", data_dir=str(digits_root))
    for function in (check_available, open_dataset):
        with pytest.raises(DatasetError, match=r"'digit' is not prepared: expected .*digit/<version>.*nearest: digits"):
            function(config)


def test_prepared_sets_are_read_from_their_folder(digits_root: Path) -> None:
    (digits_root / "copies").symlink_to(digits_root / "digits")
    config = dataclasses.replace(tiny_config().data, name="copies", data_dir=str(digits_root))
    assert len(open_dataset(config)) == 1797


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"split": "test"}, "'test', but digits has train"), ({"num_classes": 7}, "7, but digits has 10")],
)
def test_wrong_split_and_labels_are_refused(digits_root: Path, keys: dict, message: str) -> None:
    config = dataclasses.replace(tiny_config().data, data_dir=str(digits_root), **keys)
    with pytest.raises(DatasetError, match=message):
        open_dataset(config)


def test_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "broken" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    config = dataclasses.replace(tiny_config().data, name="broken", data_dir=str(tmp_path))
    with pytest.raises(DatasetError, match="cannot be read as a tfds data set"):
        open_dataset(config)
