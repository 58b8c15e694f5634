"""Pictures of any size, drawn in strips."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from inr_gan_jax import sampling
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.inference.pictures import render, render_all, render_bytes
from inr_gan_jax.ops.viewport import Viewport
from tests.closeness import assert_bytes_close, assert_close
from tests.golden.official_pickles import official_pickle
from tests.inference.tools import small_generator
from tests.marks import mostly_slow


@pytest.mark.parametrize("model", ["paper", "release"])
@pytest.mark.parametrize("rule", mostly_slow(["paper", "all", "pointwise"], fast=("all", "pointwise")))
def test_strips_join_to_the_whole(model: str, rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = small_generator(model)
    image = select(sample_modulations(loaded, [0]), 0)
    view = Viewport(21, 18, top=-0.2, left=0.1, height_extent=1.3, width_extent=0.9, rule=rule)
    whole = loaded.generator.render(loaded.variables, image, view)
    monkeypatch.setattr(sampling, "PIXELS_PER_CALL", 4 * 18)
    before = sampling._render._cache_size()
    assert_close(render(loaded, image, view), whole)
    assert sampling._render._cache_size() == before + 1, "strips of one picture share one program"


def test_moving_and_other_images_compile_nothing() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, [0, 1])
    view = Viewport(16, 16, rule="pointwise")
    render_all(loaded, images, view)
    render(loaded, select(images, 0), view)
    before = sampling._render._cache_size()
    render_all(loaded, images, view.crop(3, 5, 16, 16))
    render(loaded, select(images, 1), view)
    assert sampling._render._cache_size() == before


def test_bytes_are_rounded_and_clipped() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, [0, 1])
    view = loaded.generator.native_viewport
    drawn = render_all(loaded, images, view)
    expected = np.clip(np.rint((drawn.astype(np.float64) + 1) * 127.5), 0, 255)
    assert_bytes_close(render_bytes(loaded, images, view), expected.astype(np.uint8))


def test_networks_that_look_at_neighbours_draw_their_trained_picture_only() -> None:
    loaded = small_generator("release", release={"upsampling": "bilinear"})
    image = select(sample_modulations(loaded, [0]), 0)
    assert render(loaded, image, loaded.generator.native_viewport).shape == (8, 8, 1)
    with pytest.raises(UserError, match="small release cannot be rendered like this"):
        render(loaded, image, Viewport(16, 16))


@pytest.mark.parametrize("precision", mostly_slow(["float32", "float64"], fast=("float64",)))
def test_crop_of_a_render_of_cips_is_the_render_of_the_crop(precision: str) -> None:
    loaded = load_generator(official_pickle("tiny-cips-16"))
    with jax.enable_x64(precision == "float64"):
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, precision), loaded.variables)
        loaded = dataclasses.replace(loaded, variables=variables)
        image = select(sample_modulations(loaded, [0]), 0)
        view = Viewport(26, 22, top=-0.2, left=0.1, height_extent=1.3, width_extent=0.9, rule="all")
        whole = render(loaded, image, view)
        for top, left in np.random.default_rng(0).integers(0, 12, (3, 2)).tolist():
            part = render(loaded, image, view.crop(top, left, 9, 8))
            assert_close(part, whole[top : top + 9, left : left + 8])
