"""Seeds, labels and truncation."""

import dataclasses

import jax
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import (
    intermediate_codes,
    labels,
    latents,
    parse_seeds,
    sample_modulations,
    seeds_text,
    select,
)
from inr_gan_jax.sampling import Truncation
from tests.closeness import assert_close
from tests.inference.tools import small_generator


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("7", (7,)),
        ("1, 5,8-10", (1, 5, 8, 9, 10)),
        ("5,5", (5, 5)),
        (str(2**32 - 1), (2**32 - 1,)),
    ],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "1.5", str(2**32), "0-99999999", "1,,2", "1;2"])
def test_other_seeds_are_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"^seeds are "):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["0-3", "7", "1,5,8-10", "5,5", "5,2-4", "3,2,1"])
def test_seeds_are_written_as_they_are_read(text: str) -> None:
    assert seeds_text(parse_seeds(text)) == text


def test_a_seed_gives_the_same_code_among_any_others() -> None:
    loaded = small_generator()
    assert_close(latents(loaded, [3, 9])[1], latents(loaded, [9])[0])
    assert not np.array_equal(*latents(loaded, [3, 9]))


def test_codes_are_standard_normal() -> None:
    z = np.asarray(latents(small_generator(), range(2000)))
    # Five standard deviations of mean and variance over 16,000 numbers.
    assert abs(z.mean()) < 0.04
    assert abs(z.var() - 1) < 0.06


def test_truncation_draws_towards_the_mean() -> None:
    loaded = small_generator("release")
    z = latents(loaded, [0, 1])
    full, half, none = (intermediate_codes(loaded, z, None, Truncation(psi)) for psi in (1.0, 0.5, 0.0))
    assert_close(half, (full + none) / 2)
    assert_close(none, np.broadcast_to(loaded.w_avg, none.shape))


def test_truncation_without_a_mean_is_one_sentence() -> None:
    loaded = dataclasses.replace(small_generator(), w_avg=None)
    z = latents(loaded, [0])
    intermediate_codes(loaded, z, None, Truncation(1.0))
    with pytest.raises(UserError, match="holds no mean of w, so truncation_psi must be 1"):
        intermediate_codes(loaded, z, None, Truncation(0.5))


def test_labels_are_all_classes_in_turn_or_one() -> None:
    loaded = small_generator(data={"num_classes": 3})
    np.testing.assert_array_equal(np.argmax(labels(loaded, 5), axis=1), [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(labels(loaded, 2, 1), [[0, 1, 0]] * 2)


@pytest.mark.parametrize(("num_classes", "index"), [(3, 3), (3, -1), (0, 0)])
def test_absent_classes_are_one_sentence(num_classes: int, index: int) -> None:
    loaded = small_generator(data={"num_classes": num_classes})
    with pytest.raises(UserError, match="class"):
        labels(loaded, 1, index)


def test_modulations_are_those_of_the_generator() -> None:
    loaded = small_generator()
    drawn = select(sample_modulations(loaded, [4, 5]), 1)
    ws = loaded.generator.mapping(loaded.variables, latents(loaded, [5])[0])
    expected = loaded.generator.modulation(loaded.variables, ws)
    jax.tree.map(assert_close, drawn, expected)
