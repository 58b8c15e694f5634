"""Tiles of filters are crops of the whole picture, enlarged, and empty outside."""

import numpy as np
import pytest

from inr_gan_jax.inference.super_resolution import UPSCALING_FILTERS, Filter, resize
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.viewer.drawing import filtered_tile
from inr_gan_jax.viewer.plane import TILE, Tile

NATIVE = np.random.default_rng(0).uniform(-1, 1, (6, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("name", UPSCALING_FILTERS)
def test_filtered_tile_is_a_crop_of_the_enlarged_picture(name: Filter) -> None:
    whole = to_uint8(resize(NATIVE, (6 * 64, 8 * 64), name))
    drawn = filtered_tile(NATIVE, Tile(1, 1, 0), name)
    assert np.abs(drawn[..., :3].astype(int) - whole[:TILE, TILE:]).max() <= 1
    assert (drawn[..., 3] == 255).all()


def test_tile_across_the_border_ends_there() -> None:
    drawn = filtered_tile(NATIVE, Tile(1, 0, 1), "nearest")
    # Three quarters of the longer side.
    assert (drawn[: TILE // 2, :, 3] == 255).all()
    assert (drawn[TILE // 2 :] == 0).all()


def test_coarse_tile_averages() -> None:
    drawn = filtered_tile(NATIVE, Tile(-4, 0, 0), "bilinear")
    assert (drawn[..., 3] == 255).sum() == 12 * 16
    assert filtered_tile(NATIVE, Tile(-4, 1, 0), "bilinear").max() == 0
