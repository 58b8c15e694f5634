"""Tiles cover the plane once, over the trained picture, as far as positions can be told apart."""

import numpy as np
import pytest

from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.viewer.plane import MAX_LEVEL, MIN_LEVEL, REACH, TILE, Tile, reach_of, viewport_of
from tests.closeness import assert_close

NATIVE = (6, 8)


def columns_of(view: Viewport) -> np.ndarray:
    return view.left + np.arange(view.width) * view.width_extent / view.width


def test_neighbouring_tiles_go_on() -> None:
    positions = [columns_of(viewport_of(Tile(2, column, 0), NATIVE, "all")) for column in (-1, 0)]
    steps = np.diff(np.concatenate(positions))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_pixels_of_a_coarse_tile_lie_in_the_middle_of_the_finer_ones() -> None:
    coarse = columns_of(viewport_of(Tile(1, 3, 0), NATIVE, "all"))
    finer = np.concatenate([columns_of(viewport_of(Tile(2, column, 0), NATIVE, "all")) for column in (6, 7)])
    assert_close(coarse, finer.reshape(TILE, 2).mean(axis=1))


def test_pixels_are_square() -> None:
    view = viewport_of(Tile(0, 0, 0), NATIVE, "all")
    trained = [view.height_extent * NATIVE[0], view.width_extent * NATIVE[1]]
    assert trained == [8, 8]


def test_trained_pixel_lies_in_the_middle_of_its_area() -> None:
    columns = columns_of(viewport_of(Tile(0, 0, 0), NATIVE, "all"))
    side = TILE // NATIVE[1]
    np.testing.assert_allclose(columns.reshape(NATIVE[1], side).mean(axis=1), np.arange(NATIVE[1]) / NATIVE[1])


@pytest.mark.parametrize("level", range(MIN_LEVEL, MAX_LEVEL + 1))
def test_farthest_pixels_have_positions_of_their_own(level: int) -> None:
    count = round(reach_of(level) * 2**level)
    for column in (-count, count - 1):
        assert Tile(level, column, 0).exists
        columns = columns_of(viewport_of(Tile(level, column, 0), (8, 8), "all"))
        assert len(set(columns.astype(np.float32))) == TILE


@pytest.mark.parametrize(
    "tile",
    [
        Tile(MIN_LEVEL - 1, 0, 0),
        Tile(MAX_LEVEL + 1, 0, 0),
        Tile(0, REACH, 0),
        Tile(0, 0, -REACH - 1),
        Tile(MAX_LEVEL, round(reach_of(MAX_LEVEL) * 2**MAX_LEVEL), 0),
    ],
)
def test_what_lies_outside_is_no_tile(tile: Tile) -> None:
    assert not tile.exists
