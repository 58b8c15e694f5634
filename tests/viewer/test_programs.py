"""Tiles equal crops of `render`, by few programs."""

import numpy as np
import pytest

from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.viewer.plane import MAX_LEVEL, MIN_LEVEL, TILE, Tile, viewport_at, viewport_of
from inr_gan_jax.viewer.programs import CPU_PIECES, PieceSettings, Programs, listed_size
from inr_gan_jax.viewer.scene import RULES
from tests.inference.tools import image_of, loaded_paper, loaded_release

MODELS = {"paper": loaded_paper, "release": loaded_release}


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs(CPU_PIECES)


def two_by_two(loaded: LoadedGenerator, level: int, rule: DensifyRule) -> Viewport:
    """The four tiles around the corner of the trained picture, as one viewport."""
    extent = 2 * Tile(level, 0, 0).extent
    corner = (-extent / 2, -extent / 2)
    return viewport_at(corner, (extent, extent), (2 * TILE, 2 * TILE), loaded.generator.size, rule)


@pytest.mark.parametrize(
    ("model", "rule", "level"),
    [("paper", "pointwise", 2), ("paper", "all", -2), ("paper", "paper", 0), ("release", "all", 1)],
)
def test_tile_is_a_crop_of_the_render(programs: Programs, model: str, rule: DensifyRule, level: int) -> None:
    loaded = MODELS[model]()
    whole = to_uint8(render(loaded, image_of(loaded), two_by_two(loaded, level, rule)))
    assert whole.std() > 2
    tiles = [Tile(level, column, row) for row in (-1, 0) for column in (-1, 0)]
    drawn = programs.render(
        loaded, image_of(loaded), [viewport_of(tile, loaded.generator.size, rule) for tile in tiles]
    )
    for tile, pixels in zip(tiles, drawn, strict=True):
        top, left = (tile.row + 1) * TILE, (tile.column + 1) * TILE
        expected = whole[top : top + TILE, left : left + TILE]
        assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_batch_draws_what_single_pieces_draw(programs: Programs) -> None:
    loaded = loaded_paper()
    views = [viewport_of(Tile(1, column, 0), loaded.generator.size, "pointwise") for column in range(3)]
    single = programs.render(loaded, image_of(loaded), views)
    together = Programs(PieceSettings(rows=128, batch=4)).render(loaded, image_of(loaded), views)
    for one, other in zip(single, together, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_all_places_and_densities_need_few_programs() -> None:
    loaded = loaded_release()
    keys = set()
    rng = np.random.default_rng(0)
    programs = Programs(CPU_PIECES)
    for rule in RULES:
        for _ in range(80):
            extent = 2.0 ** rng.uniform(-MAX_LEVEL, -MIN_LEVEL)
            view = viewport_at(tuple(rng.uniform(-3, 3, 2)), (extent, extent), (TILE, TILE), (8, 8), rule)
            keys.update(programs.keys_of(loaded.generator, view))
    assert 3 <= len(keys) < 40


@pytest.mark.parametrize(("size", "listed"), [(1, 2), (2, 2), (3, 3), (4, 5), (5, 5), (129, 129), (130, 257)])
def test_coarse_grids_have_listed_sizes(size: int, listed: int) -> None:
    assert listed_size(size, 256) == listed


def test_full_grid_keeps_its_size() -> None:
    assert listed_size(256, 256) == 256
