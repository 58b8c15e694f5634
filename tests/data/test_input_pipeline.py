"""Batches: complete, shuffled, seeded, resumable, the same however the work is spread."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags

from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.read.batches import FitImage, mirror, mirroring
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.images import all_images
from inr_gan_jax.data.read.pipeline import describe_data, make_iterator
from inr_gan_jax.errors import DatasetError
from tests.conftest import tiny_config

ROOT = Path(__file__).resolve().parents[2]


def numbered(count: int) -> Dataset:
    """Pictures that carry their number in the label and, doubled, in their pixels but the first column."""
    elements = [{"image": np.full((8, 8, 1), 2 * i % 256, np.uint8), "label": i} for i in range(count)]
    for element in elements:
        element["image"][:, 0] = 1
    return Dataset("numbered", elements, count)


def settings(**keys: Any) -> DataConfig:
    return dataclasses.replace(tiny_config().data, **keys)


def labels(iterator: Any, batches: int) -> list[int]:
    return [int(label) for _ in range(batches) for label in next(iterator)["label"]]


def assert_same(batches: list[Any], others: list[Any]) -> None:
    for batch, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(batch["image"], other["image"])
        np.testing.assert_array_equal(batch["label"], other["label"])


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
    np.testing.assert_array_equal(batch["image"][:, 0, 1, 0], 2 * batch["label"])


def test_epochs_that_do_not_divide_into_batches_are_whole() -> None:
    order = labels(make_iterator(numbered(13), tiny_config().data, 8, 0), 13)
    epochs = [order[start : start + 13] for start in range(0, 104, 13)]
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_order_is_a_fair_shuffle() -> None:
    # Where image 0 comes in 400 epochs of 16: each place 25 times on average, with a deviation of 4.8.
    order = np.array(labels(make_iterator(numbered(16), tiny_config().data, 16, 0), 400)).reshape(400, 16)
    places = np.bincount(np.argmin(order, axis=1), minlength=16)
    # 58 is the value that chi-square with 15 degrees of freedom passes once in 2 million runs.
    assert ((places - 25) ** 2 / 25).sum() < 58


@pytest.mark.parametrize("rows", [[[0, 1, 2, 3], [4, 5, 6, 7]], [[0, 1, 6, 7], [2, 3, 4, 5]]])
def test_two_processes_see_their_rows_of_every_batch_of_one(rows: list[list[int]]) -> None:
    config, dataset = settings(x_flip=True), numbered(13)
    whole = make_iterator(dataset, config, 8, 0)
    parts = [make_iterator(dataset, config, 8, 0, own) for own in rows]
    seen: list[int] = []
    for _ in range(13):
        halves, expected = [next(part) for part in parts], next(whole)
        for own, half in zip(rows, halves, strict=True):
            assert_same([half], [{name: expected[name][own] for name in ("image", "label")}])
        seen += [label for half in halves for label in half["label"].tolist()]
    assert sorted(seen) == sorted(8 * list(range(13)))


@pytest.mark.parametrize(
    "keys", [{"num_threads": 3, "prefetch": 1}, {"cache_mib": 0}, {"cache_mib": 0, "num_threads": 4}]
)
def test_threads_and_cache_change_nothing(digits_set: Dataset, keys: dict) -> None:
    iterators = [make_iterator(digits_set, settings(x_flip=True, **more), 50, 0) for more in ({}, keys)]
    first, second = ([next(iterator) for _ in range(75)] for iterator in iterators)
    assert_same(first, second)


@pytest.mark.parametrize("keys", [{}, {"cache_mib": 0, "num_threads": 3}])
def test_restored_iterator_yields_what_would_have_come(digits_set: Dataset, keys: dict) -> None:
    config = settings(x_flip=True, **keys)
    iterator = make_iterator(digits_set, config, 50, 0)
    for _ in range(50):  # past the first epoch of 36 batches
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = [next(iterator) for _ in range(20)]
    fresh, used = make_iterator(digits_set, config, 50, 0), make_iterator(digits_set, config, 50, 0)
    next(used)
    for other in (fresh, used, iterator):
        other.set_state(state)
        assert_same([next(other) for _ in range(20)], expected)


def test_worker_processes_change_nothing_and_states_fit_either(digits_set: Dataset) -> None:
    if not flags.FLAGS.is_parsed():  # grain hands them on to its processes
        flags.FLAGS.mark_as_parsed()
    threads, workers = (
        make_iterator(digits_set, settings(x_flip=True, cache_mib=0, num_workers=count), 50, 0) for count in (0, 1)
    )
    threads.set_state({**threads.get_state(), "next_batch": 30})
    workers.set_state(threads.get_state())
    expected = [next(threads) for _ in range(20)]
    assert_same([next(workers) for _ in range(10)], expected[:10])
    threads.set_state(workers.get_state())
    workers.close()
    assert_same([next(threads) for _ in range(10)], expected[10:])


def test_state_is_the_number_of_the_next_batch_on_every_process() -> None:
    states = []
    for rows in (None, [4, 5, 6, 7]):
        iterator = make_iterator(numbered(16), tiny_config().data, 8, 3, rows)
        next(iterator)
        states.append(iterator.get_state())
    assert states[0] == states[1] == {"next_batch": 1, "num_images": 16, "batch_size": 8, "seed": 3}


@pytest.mark.parametrize(
    ("count", "batch_size", "seed", "message"),
    [(17, 8, 0, "16 images then, 17 now"), (16, 4, 0, "has batch_size = 8, but this run has 4"),
     (16, 8, 1, "has seed = 0, but this run has 1")],
)  # fmt: skip
def test_states_of_other_runs_are_refused(count: int, batch_size: int, seed: int, message: str) -> None:
    state = make_iterator(numbered(16), tiny_config().data, 8, 0).get_state()
    with pytest.raises(DatasetError, match=message):
        make_iterator(numbered(count), tiny_config().data, batch_size, seed).set_state(state)


def test_a_set_that_fits_is_decoded_once() -> None:
    class Counted(list):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            Counted.reads += 1
            return super().__getitem__(index)

    dataset = Dataset("counted", Counted(numbered(16).source), 16)
    labels(make_iterator(dataset, settings(cache_mib=1), 8, 0), 20)
    assert Counted.reads == 16
    labels(make_iterator(dataset, settings(cache_mib=0), 8, 0), 20)
    assert Counted.reads >= 16 + 160


def test_mirrored_images_are_mirrored_and_the_rest_is_not() -> None:
    batch = next(make_iterator(numbered(64), settings(x_flip=True), 64, 0))
    left, right = batch["image"][:, :, 0, 0], batch["image"][:, :, -1, 0]
    is_mirrored = (right == 1).all(axis=1)
    np.testing.assert_array_equal(is_mirrored, mirroring(0, 0, 64))
    np.testing.assert_array_equal(left[~is_mirrored], 1)
    assert 0 < is_mirrored.sum() < 64


def test_numbers_of_a_batch_are_the_same_for_ever() -> None:
    # A saved run must go on alike with any version of NumPy.
    assert labels(make_iterator(numbered(10), tiny_config().data, 10, 1), 1) == [7, 4, 5, 1, 9, 8, 6, 2, 0, 3]
    assert mirroring(1, 2, 8).tolist() == [True, False, False, False, True, False, False, False]


def test_flip_mirrors_about_half_of_the_images() -> None:
    # Five standard deviations: a fair coin fails this once in 1.7 million runs.
    assert abs(int(mirroring(0, 5, 400).sum()) - 200) < 50


def test_mirroring_turns_left_and_right() -> None:
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    turned = image.copy()
    mirror(turned)
    np.testing.assert_array_equal(turned, image[:, ::-1])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_set_smaller_than_a_batch_repeats_within_it(count: int) -> None:
    config, dataset = settings(x_flip=True), numbered(count)
    whole = make_iterator(dataset, config, 8, 0)
    parts = [make_iterator(dataset, config, 8, 0, own) for own in ([0, 1, 2, 3], [4, 5, 6, 7])]
    batches = [next(whole) for _ in range(2 * count)]
    order = np.concatenate([batch["label"] for batch in batches])
    epochs = order.reshape(16, count)
    np.testing.assert_array_equal(np.sort(epochs), np.broadcast_to(np.arange(count), (16, count)))
    halves = [[next(part) for part in parts] for _ in batches]
    assert_same(batches, [{name: np.concatenate([half[name] for half in pair]) for name in pair[0]} for pair in halves])
    resumed = make_iterator(dataset, config, 8, 0)
    resumed.set_state({**resumed.get_state(), "next_batch": count})
    assert_same(batches[count:], [next(resumed) for _ in range(count)])


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DatasetError, match="numbered is empty"):
        make_iterator(numbered(0), tiny_config().data, 8, 0)


@pytest.mark.parametrize(
    ("count", "is_mirrored", "clause"),
    [
        (
            1,
            True,
            "1 image of numbered, repeated within each batch of 8, each mirrored with probability 1/2 (config.da",
        ),
        (7, False, "7 images of numbered, repeated within each batch of 8, not mirrored"),
        (1300, False, "1,300 images of numbered, not mirrored"),
    ],
)
def test_description_tells_numbers_and_mirroring(count: int, is_mirrored: bool, clause: str) -> None:
    assert describe_data(numbered(count), settings(x_flip=is_mirrored), 8).startswith(clause)


def test_fit_crops_the_centre_resizes_and_converts() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = (200, 100, 50)
    fitted = FitImage(8, 8, 3)(picture)
    assert (fitted == (200, 100, 50)).all()
    grey = FitImage(8, 16, 1)(picture)
    assert grey.shape == (8, 16, 1)
    assert FitImage(20, 40, 3)(picture) is picture


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16)])
def test_all_images_are_fitted_floats_between_minus_one_and_one(digits_set: Dataset, height: int, width: int) -> None:
    config = dataclasses.replace(tiny_config().data, height=height, width=width)
    images = all_images(digits_set, config)
    assert images.shape == (1797, height, width, 1)
    assert (images.min(), images.max()) == (-1, 1)


def test_grey_becomes_colour() -> None:
    fitted = FitImage(4, 4, 3)(np.full((4, 4, 1), 7, np.uint8))
    assert fitted.shape == (4, 4, 3)
    assert (fitted == 7).all()


def test_the_pipeline_loads_no_tensorflow() -> None:
    names = [f"inr_gan_jax.data.{path.stem}" for path in (ROOT / "inr_gan_jax" / "data").glob("[a-z]*.py")]
    names += [
        f"inr_gan_jax.data.builders.{path.stem}" for path in (ROOT / "inr_gan_jax/data/builders").glob("[a-z]*.py")
    ]
    program = (
        f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
