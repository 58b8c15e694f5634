"""From a size to the rectangle that is drawn."""

import numpy as np
import pytest

from inr_gan_jax.cli.viewport_flags import chosen_viewport
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.viewports import fit_viewport
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.tools import inr_file, interpolate, sample, tile
from tests.closeness import assert_close
from tests.inference.tools import flags_of, small_generator


def edges(view: Viewport) -> tuple[float, float, float, float]:
    """Top, bottom, left and right of the area that the pixels cover, half a step around each, in trained pixels."""
    row, column = view.height_extent / view.height, view.width_extent / view.width
    top, left = view.top - row / 2, view.left - column / 2
    return tuple(8 * edge + 0.5 for edge in (top, top + view.height_extent, left, left + view.width_extent))


@pytest.mark.parametrize("size", [(4, 4), (16, 16), (13, 13)])
@pytest.mark.parametrize("fit", ["crop", "extend", "stretch"])
def test_squares_cover_the_trained_square_whatever_the_fit(size: tuple[int, int], fit: str) -> None:
    assert_close(edges(fit_viewport(small_generator().generator, size, fit)), (0, 8, 0, 8))


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("crop", (2, 6, 0, 8)), ("extend", (0, 8, -4, 12)), ("stretch", (0, 8, 0, 8))],
)
def test_wide_pictures_show_the_middle_more_or_bend(fit: str, expected: tuple[float, ...]) -> None:
    view = fit_viewport(small_generator().generator, (16, 32), fit)
    assert_close(edges(view), expected)


def test_trained_size_is_the_trained_grid() -> None:
    generator = small_generator().generator
    view = fit_viewport(generator, (8, 8))
    assert (view.top, view.left, view.height_extent, view.width_extent) == (0, 0, 1, 1)


@pytest.mark.parametrize(("training_rule", "expected"), [("paper", "all"), ("pointwise", "pointwise")])
def test_rule_follows_the_training(training_rule: str, expected: str) -> None:
    assert small_generator(paper={"training_rule": training_rule}).generator.default_rule == expected


@pytest.mark.parametrize(
    ("arguments", "size"),
    [([], (8, 8)), (["--resolution=20"], (20, 20)), (["--height=3", "--width=5"], (3, 5)), (["--width=5"], (5, 5))],
)
def test_size_comes_from_the_flags(arguments: list[str], size: tuple[int, int]) -> None:
    with flags_of(sample, "--checkpoint=x", *arguments):
        view = chosen_viewport(small_generator())
    assert (view.height, view.width) == size


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--resolution=0"], "--resolution is 0, expected a whole number from 1 to 1,048,576"),
        (["--resolution=1000000"], "more than the 268,435,456 that are rendered at once"),
        (["--height=5", "--width=5", "--resolution=6"], "--resolution=6 and --height were both given"),
    ],
)
def test_impossible_sizes_are_one_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence), flags_of(sample, "--checkpoint=x", *arguments):
        chosen_viewport(small_generator())


SIZES = [["--height=10", "--width=17"], ["--resolution=12"], ["--height=5"], ["--width=20", "--fit=extend"], []]


@pytest.mark.parametrize("arguments", SIZES, ids=" ".join)
def test_every_tool_shows_the_same_for_a_size(arguments: list[str]) -> None:
    views = []
    loaded = small_generator()
    for tool in (sample, interpolate, tile, inr_file):
        given = "x.inr.safetensors" if tool is inr_file else "--checkpoint=x"
        with flags_of(tool, given, *arguments):
            views.append(chosen_viewport(loaded))
    assert views == [views[0]] * 4


def test_sides_left_open_keep_pixels_square() -> None:
    with flags_of(tile, "--checkpoint=x", "--height=30", "--height_extent=2"):
        view = chosen_viewport(small_generator())
    assert (view.height, view.width) == (30, 15)


@pytest.mark.parametrize(("fit", "expected"), [("crop", (4, 8)), ("extend", (8, 16)), ("stretch", (8, 8))])
def test_fit_says_what_an_area_of_another_shape_shows(fit: str, expected: tuple[float, float]) -> None:
    area = ["--top=-1", "--left=0.25", "--height_extent=1", "--width_extent=1"]
    with flags_of(tile, "--checkpoint=x", "--height=20", "--width=40", f"--fit={fit}", *area):
        top, bottom, left, right = edges(chosen_viewport(small_generator()))
    np.testing.assert_allclose((bottom - top, right - left), expected, rtol=1e-12)
    np.testing.assert_allclose(((top + bottom) / 2, (left + right) / 2), (-4, 6), rtol=1e-12)


def test_dense_pictures_of_a_part_are_the_part_of_a_dense_picture() -> None:
    with flags_of(tile, "--checkpoint=x", "--height=64"):
        whole = chosen_viewport(small_generator())
    part = ["--top=0.25", "--left=0.5", "--height_extent=0.5", "--width_extent=0.5"]
    with flags_of(tile, "--checkpoint=x", "--height=32", *part):
        corner = chosen_viewport(small_generator())
    assert corner == whole.crop(16, 32, 32, 32)


def test_networks_of_one_size_say_so() -> None:
    loaded = small_generator("release", release={"upsampling": "bilinear"})
    with flags_of(sample, "--checkpoint=x", "--resolution=16"), pytest.raises(UserError, match="trained image only"):
        chosen_viewport(loaded)
