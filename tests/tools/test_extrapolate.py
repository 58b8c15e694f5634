"""Pictures that go beyond the trained square."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.gallery import zoom_out_sheet
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.inference.viewports import fit_viewport, zoomed_out
from inr_gan_jax.tools import extrapolate
from tests.closeness import assert_close
from tests.conftest import tiny_config
from tests.inference.tools import record_of, run_tool, small_generator, write_run


@pytest.mark.parametrize("model", ["paper", "release"])
@pytest.mark.parametrize("density", [1, 3])
def test_middle_is_the_trained_square(model: str, density: int, x64: Any) -> None:
    loaded = small_generator(model)
    doubled = jax.tree.map(lambda leaf: leaf.astype(np.float64), loaded.variables)
    loaded = dataclasses.replace(loaded, variables=doubled)
    image = select(sample_modulations(loaded, [0]), 0)
    view = zoomed_out(loaded, 2, density)
    top, left, bottom, right = view.square
    drawn = render(loaded, image, view.viewport)
    assert drawn.shape[:2] == (16 * density, 16 * density)
    inner = render(loaded, image, fit_viewport(loaded.generator, (8 * density, 8 * density)))
    assert_close(drawn[top : bottom + 1, left : right + 1], inner)
    assert (top, left, bottom + 1, right + 1) == (4 * density, 4 * density, 12 * density, 12 * density)


def test_factor_one_shows_nothing_beyond() -> None:
    loaded = small_generator()
    view = zoomed_out(loaded, 1)
    assert (view.viewport.height, view.viewport.width) == (8, 8)
    assert view.square == (0, 0, 7, 7)


def test_sheet_shows_every_rule_of_tables_where_there_are_tables() -> None:
    narrow, wide = (
        zoom_out_sheet(loaded, sample_modulations(loaded, [0]), 2, 2).shape[1]
        for loaded in (small_generator(), small_generator("release"))
    )
    assert wide > 2 * narrow


def test_command_writes_pictures_and_where_the_square_is(tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config())
    run_tool(
        extrapolate, f"--checkpoint={run}", f"--output={tmp_path / 'out'}", "--seeds=1", "--density=4", "--factor=1.5"
    )
    assert record_of(tmp_path / "out")["trained_square"] == [8, 8, 39, 39]
    with Image.open(tmp_path / "out" / "seed0001.png") as picture:
        assert picture.size == (48, 48)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--factor=0.5", "--factor is 0.5, expected a number from 1 to"),
        ("--factor=nan", "--factor is nan, expected a number from 1 to"),
        ("--density=0", "--density is 0, expected a number from"),
        ("--density=10000", "more than the 268,435,456 that are rendered at once"),
    ],
)
def test_impossible_numbers_are_one_sentence(argument: str, sentence: str, tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config())
    with pytest.raises(UserError, match=sentence):
        run_tool(extrapolate, f"--checkpoint={run}", f"--output={tmp_path / 'out'}", argument)
    assert not (tmp_path / "out").exists()
