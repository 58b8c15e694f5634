"""Viewports, grids and what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inr_gan_jax.ops.viewport import BlockGrid, Viewport, block_grids
from tests.closeness import assert_close

NATIVE = [(8, 8), (16, 16), (32, 32)]


def sizes(grids: tuple[BlockGrid, ...]) -> list[int]:
    return [grid.size[0] for grid in grids]


@pytest.mark.parametrize(
    ("side", "first_dense", "native", "expected"),
    [
        (32, 1, [(16, 16), (32, 32)], [16, 32]),
        (64, 1, [(16, 16), (32, 32)], [16, 64]),
        (128, 1, [(16, 16), (32, 32)], [16, 128]),
        (64, 1, NATIVE, [8, 32, 64]),
        (64, 4, NATIVE, [16, 32, 64]),  # an index that matches no block
        (64, 0, NATIVE, [16, 32, 64]),
    ],
)
def test_paper_rule_gives_the_published_sizes(side: int, first_dense: int, native: list, expected: list) -> None:
    assert sizes(block_grids(Viewport(side, side), native, first_dense)) == expected


def test_rule_all_keeps_the_ratios() -> None:
    assert sizes(block_grids(Viewport(96, 96, rule="all"), NATIVE)) == [24, 48, 96]


def test_rule_pointwise_evaluates_every_block_at_every_pixel() -> None:
    grids = block_grids(Viewport(96, 96, rule="pointwise"), NATIVE)
    for grid in grids:
        np.testing.assert_array_equal(grid.x, grids[-1].x)
    assert grids[1].repeats == (1, 1)


def test_native_grid_is_i_over_r_and_repeats_twice() -> None:
    grids = block_grids(Viewport(32, 32), NATIVE)
    for (side, _), grid in zip(NATIVE, grids, strict=True):
        np.testing.assert_array_equal(grid.x, np.arange(side) / side)
        np.testing.assert_array_equal(grid.y, np.arange(side) / side)
    assert grids[0].repeats is None
    assert grids[1].repeats == grids[2].repeats == (2, 2)


def test_fractional_density_takes_the_cell_a_point_falls_in() -> None:
    grids = block_grids(Viewport(27, 27), [(8, 8), (16, 16)])
    positions = np.arange(27) / 27
    np.testing.assert_array_equal(grids[1].column_index, np.floor(positions * 8 + 1e-12))
    assert grids[1].repeats is None


@given(top=st.integers(-40, 40), left=st.integers(-40, 40), rule=st.sampled_from(["paper", "all", "pointwise"]))
def test_crop_has_the_grid_points_of_the_full_view(top: int, left: int, rule: str) -> None:
    full = Viewport(160, 160, top=-0.75, left=-0.75, height_extent=2.5, width_extent=2.5, rule=rule)
    crop = full.crop(60 + top, 60 + left, 9, 13)
    for whole, part in zip(block_grids(full, NATIVE), block_grids(crop, NATIVE), strict=True):
        for axis in ("x", "y"):
            distance = np.abs(getattr(whole, axis)[:, None] - getattr(part, axis)[None, :]).min(axis=0)
            assert distance.max() < 1e-12


def test_zoom_out_keeps_the_centre_and_the_pixels() -> None:
    view = Viewport(8, 16).zoom_out(3)
    assert (view.height, view.width) == (8, 16)
    assert (view.top, view.left, view.height_extent, view.width_extent) == (-1, -1, 3, 3)


def test_centred_view_has_its_pixels_around_the_native_ones() -> None:
    dense = Viewport(64, 64).centred_on((8, 8))
    columns = block_grids(dense, [(8, 8)])[0].x
    # The eight dense pixels over a native one have its position as their mean.
    assert_close(np.asarray(columns).reshape(8, 8).mean(axis=1), np.arange(8) / 8)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"height": 0}, "at least 1 x 1"),
        ({"width_extent": 0.0}, "more than 0"),
        ({"top": float("nan")}, "finite"),
        ({"rule": "dense"}, "'dense'"),
    ],
)
def test_impossible_views_are_refused(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Viewport(**{"height": 8, "width": 8, **keys})


def test_antialiasing_changes_nothing_where_the_grid_is_as_trained_or_denser() -> None:
    for side in (32, 48, 64):
        for grid, plain in zip(
            block_grids(Viewport(side, side, antialias=True, rule="all"), NATIVE),
            block_grids(Viewport(side, side, rule="all"), NATIVE),
            strict=True,
        ):
            assert grid.footprint is None
            np.testing.assert_array_equal(grid.x, plain.x)


@pytest.mark.parametrize("rule", ["all", "pointwise"])
def test_coarse_points_stand_in_the_middle_of_the_trained_ones(rule: str) -> None:
    view = Viewport(8, 16, antialias=True, rule=rule).centred_on((32, 32))
    coarse = block_grids(view, NATIVE)
    rows = (np.arange(32) / 32).reshape(8, 4)
    columns = (np.arange(32) / 32).reshape(16, 2)
    assert_close(coarse[-1].y, rows.mean(axis=1))
    assert_close(coarse[-1].x, columns.mean(axis=1))
    # A box has the variance width^2 / 12.
    assert_close(coarse[-1].footprint ** 2 / 12, [columns.var(axis=1)[0], rows.var(axis=1)[0]])
    if rule == "all":
        assert_close(coarse[0].y, (np.arange(8) / 8).reshape(2, 4).mean(axis=1))
