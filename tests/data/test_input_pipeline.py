"""Batches: complete, shuffled, seeded, resumable."""

import dataclasses

import numpy as np
import pytest

from inr_gan_jax.data.dataset import Dataset, DatasetError
from inr_gan_jax.data.input_pipeline import FitImage, RandomFlip, all_images, make_iterator
from tests.conftest import tiny_config


def numbered(count: int) -> Dataset:
    """Pictures that carry their number in the label and, doubled, in their pixels."""
    elements = [{"image": np.full((8, 8, 1), 2 * i, np.uint8), "label": i} for i in range(count)]
    return Dataset("numbered", elements, count)


def labels(iterator: object, batches: int) -> list[int]:
    return [int(label) for _ in range(batches) for label in next(iterator)["label"]]  # type: ignore[call-overload]


def test_an_epoch_shows_every_image_once_in_random_order() -> None:
    iterator = make_iterator(numbered(32), tiny_config().data, batch_size=8, seed=0)
    first, second = labels(iterator, 4), labels(iterator, 4)
    assert sorted(first) == sorted(second) == list(range(32))
    assert first != second
    assert first != list(range(32))


def test_the_seed_decides_the_order() -> None:
    orders = [labels(make_iterator(numbered(32), tiny_config().data, 8, seed), 4) for seed in (3, 3, 4)]
    assert orders[0] == orders[1] != orders[2]


def test_batches_have_the_stated_types_and_belong_together() -> None:
    batch = next(make_iterator(numbered(32), tiny_config().data, 8, 0))
    assert batch["image"].shape == (8, 8, 8, 1)
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], 2 * batch["label"])


def test_restored_iterator_yields_what_would_have_come(digits_set: Dataset) -> None:
    config = dataclasses.replace(tiny_config().data, x_flip=True)
    iterator = make_iterator(digits_set, config, 16, 0)
    for _ in range(130):  # past the first epoch of 112 batches
        next(iterator)
    state = iterator.get_state()
    expected = [next(iterator) for _ in range(20)]
    other = make_iterator(digits_set, config, 16, 0)
    other.set_state(state)
    for batch in expected:
        again = next(other)
        np.testing.assert_array_equal(again["image"], batch["image"])
        np.testing.assert_array_equal(again["label"], batch["label"])


def test_a_set_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(DatasetError, match="numbered has 4 images, expected at least"):
        make_iterator(numbered(4), tiny_config().data, 8, 0)


def test_fit_crops_the_centre_resizes_and_converts() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = (200, 100, 50)
    fitted = FitImage(8, 8, 3).map({"image": picture})["image"]
    assert (fitted == (200, 100, 50)).all()
    grey = FitImage(8, 16, 1).map({"image": picture})["image"]
    assert grey.shape == (8, 16, 1)
    assert FitImage(20, 40, 3).map({"image": picture})["image"] is picture


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16)])
def test_all_images_are_fitted_floats_between_minus_one_and_one(digits_set: Dataset, height: int, width: int) -> None:
    config = dataclasses.replace(tiny_config().data, height=height, width=width)
    images = all_images(digits_set, config)
    assert images.shape == (1797, height, width, 1)
    assert (images.min(), images.max()) == (-1, 1)


def test_grey_becomes_colour() -> None:
    fitted = FitImage(4, 4, 3).map({"image": np.full((4, 4, 1), 7, np.uint8)})["image"]
    assert fitted.shape == (4, 4, 3)
    assert (fitted == 7).all()


def test_flip_mirrors_about_half_of_the_images() -> None:
    image = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    rng = np.random.default_rng(0)
    flipped = [RandomFlip().random_map({"image": image}, rng)["image"][0, 0, 0] == 7 for _ in range(400)]
    # Five standard deviations: a fair coin fails this once in 1.7 million runs.
    assert abs(sum(flipped) - 200) < 50
