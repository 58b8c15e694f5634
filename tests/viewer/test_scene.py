"""Queries become scenes; whatever is wrong is refused by a sentence."""

import pytest

from inr_gan_jax.viewer.refusal import RefusalError
from inr_gan_jax.viewer.scene import ImageChoice, Scene, parse_scene
from tests.inference.tools import loaded_paper


def parsed(query: str, num_classes: int = 0) -> Scene:
    pairs = [tuple(part.partition("=")[::2]) for part in query.split("&") if part]
    return parse_scene([(str(key), str(value)) for key, value in pairs], loaded_paper(num_classes))


def test_empty_query_is_the_first_seed_by_the_networks_own_rule() -> None:
    assert parsed("") == Scene(ImageChoice(), "pointwise")


def test_all_choices_are_read() -> None:
    scene = parsed("seed=5&to=6&t=0.25&space=w&psi=0.7&style=9&layers=0,2&rule=all&class=1", 3)
    image = ImageChoice(5, 6, 0.25, "w", 0.7, 1, 9, (0, 2))
    assert scene == Scene(image, "all")


def test_positions_of_sliders_are_rounded() -> None:
    assert parsed("to=1&t=0.12345").image.share == 0.123


def test_way_to_nowhere_is_the_same_image() -> None:
    assert parsed("t=0.5&space=z") == parsed("")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("seed=-1", "seed is '-1', expected a whole number from 0 to 4294967295"),
        ("seed=4294967296", "seed is '4294967296', expected a whole number"),
        ("seed=1e3", "seed is '1e3'"),
        ("seed=٣", "expected a whole number"),
        ("to=1&t=nan", "t is 'nan', expected a number from 0 to 1"),
        ("psi=1e999", "psi is '1e999', expected a number from -2 to 2"),
        ("t=1.5", "t is '1.5'"),
        ("space=pixels", "space is 'pixels', expected one of z, w, image"),
        ("rule=none", "rule is 'none', expected one of paper, all, pointwise"),
        ("style=1&layers=9", "layers is '9', expected numbers and ranges from 0 to 2"),
        ("class=0", "class is given, but this network has no classes"),
        ("checkpoint=/etc/passwd", "'checkpoint' is not a key of this URL"),
        ("seed=1&seed=2", "seed is given twice"),
        ("layers=" + "1" * 300, "layers has 300 characters"),
    ],
)
def test_wrong_queries_are_refused(query: str, sentence: str) -> None:
    with pytest.raises(RefusalError) as caught:
        parsed(query)
    assert sentence in str(caught.value)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 250


def test_unknown_class_is_refused() -> None:
    with pytest.raises(RefusalError, match="class is '3', expected a whole number from 0 to 2"):
        parsed("class=3", 3)
