"""Exported programs draw what the model draws, at sizes that they were not traced at."""

import jax
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import labels, latents, sample_modulations
from inr_gan_jax.inference.loading import LoadedGenerator, load_generator
from inr_gan_jax.inference.pictures import render_all
from inr_gan_jax.inference.stablehlo import PLATFORMS, export_generator
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.sampling import Truncation
from tests.closeness import assert_close
from tests.golden.official_pickles import official_pickle
from tests.inference.tools import loaded_paper, loaded_release
from tests.marks import mostly_slow

ELSEWHERE = Viewport(10, 7, top=-0.7, left=0.4, height_extent=2.1, width_extent=0.9)


def called(loaded: LoadedGenerator, exported: jax.export.Exported, viewport: Viewport, count: int) -> np.ndarray:
    z, c = latents(loaded, range(count)), labels(loaded, count)
    if viewport.rule != "pointwise":
        return np.asarray(exported.call(z, c, loaded.generator.grid_arrays(viewport)))
    # What a user without this package computes.
    x = viewport.left + np.arange(viewport.width) * viewport.width_extent / viewport.width
    y = viewport.top + np.arange(viewport.height) * viewport.height_extent / viewport.height
    return np.asarray(exported.call(z, c, x.astype(np.float32), y.astype(np.float32)))


# Generator, rule, and for each batch a rectangle.
CASES = {
    "paper-pointwise": (loaded_paper, "pointwise", {1: Viewport(6, 9), 3: ELSEWHERE}),
    "paper-all": (loaded_paper, "all", {2: ELSEWHERE}),
    "conditional-pointwise": (lambda: loaded_paper(num_classes=3), "pointwise", {4: ELSEWHERE}),
    "release-pointwise": (loaded_release, "pointwise", {2: ELSEWHERE}),
    # The trained picture takes tables as they are.
    "release-paper": (loaded_release, "paper", {1: Viewport(8, 8), 3: ELSEWHERE}),
}


@pytest.mark.parametrize("case", mostly_slow(CASES, fast=("paper-pointwise", "release-pointwise")))
def test_exported_program_is_the_model_at_sizes_it_was_not_traced_at(case: str) -> None:
    make, rule, views = CASES[case]
    loaded = make()
    exported = jax.export.deserialize(export_generator(loaded, rule).serialize())
    for count, viewport in views.items():
        view = Viewport(**{**vars(viewport), "rule": rule})
        expected = render_all(loaded, sample_modulations(loaded, range(count)), view)
        assert_close(called(loaded, exported, view, count), expected)


def test_program_is_for_all_platforms_with_symbolic_sizes() -> None:
    exported = export_generator(loaded_paper(), "pointwise")
    assert exported.platforms == PLATFORMS
    assert [str(size) for size in exported.out_avals[0].shape] == ["batch", "height", "width", "1"]


def test_network_of_one_picture_is_exported_for_any_batch() -> None:
    loaded = load_generator(official_pickle("tiny-stylegan2-16"))
    exported = export_generator(loaded)
    drawn = np.asarray(exported.call(latents(loaded, range(2)), labels(loaded, 2)))
    expected = render_all(loaded, sample_modulations(loaded, range(2)), loaded.generator.native_viewport)
    assert_close(drawn, expected)
    with pytest.raises(UserError, match="renders its trained image only"):
        export_generator(loaded, "pointwise")


def test_truncation_is_fixed_in_the_program() -> None:
    loaded = loaded_paper()
    truncation = Truncation(0.4)
    exported = export_generator(loaded, "pointwise", truncation)
    view = Viewport(6, 9, rule="pointwise")
    expected = render_all(loaded, sample_modulations(loaded, [0], None, truncation), view)
    assert_close(called(loaded, exported, view, 1), expected)
    assert np.abs(expected - render_all(loaded, sample_modulations(loaded, [0]), view)).max() > 1e-2


def test_truncation_without_a_mean_is_refused() -> None:
    without = LoadedGenerator(**{**vars(loaded_paper()), "w_avg": None})
    with pytest.raises(UserError, match="holds no mean of w"):
        export_generator(without, truncation=Truncation(0.5))
