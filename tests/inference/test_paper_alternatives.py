"""The tools draw every alternative of the paper's network as its generator does."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from inr_gan_jax.inference.baked_weights import bake, baked_generator
from inr_gan_jax.inference.inr_file import file_sizes, load_inr, save_inr
from inr_gan_jax.inference.latent_paths import Interpolation
from inr_gan_jax.inference.latents import latents, sample_modulations
from inr_gan_jax.inference.loading import LoadedGenerator, load_generator, save_generator
from inr_gan_jax.inference.pictures import render, render_all
from inr_gan_jax.inference.stablehlo import export_generator
from inr_gan_jax.inference.style_mixing import mix_styles
from inr_gan_jax.ops.viewport import Viewport
from tests.closeness import assert_close
from tests.inference.tools import image_of, small_generator

# Alternatives that have nothing to do with each other share a network.
ALTERNATIVES: dict[str, dict[str, Any]] = {
    "full": {"modulation": "full", "fourier_source": "learned", "training_rule": "paper"},
    "averaged": {
        "scales": "averaged",
        "modulation": "none",
        "num_fourier_features": (0, 0),
        "use_raw_coordinates": True,
        "training_rule": "paper",
    },
    "demod": {"modulation_activation": "demod", "equalised_lr": True, "training_rule": "paper"},
}
VIEW = Viewport(11, 19, top=-0.4, left=0.3, height_extent=1.7, rule="all")


@functools.cache
def loaded_as(name: str) -> LoadedGenerator:
    return small_generator(paper=ALTERNATIVES[name])


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_image_from_a_file_is_that_of_the_generator(name: str, tmp_path: Path) -> None:
    loaded, path = loaded_as(name), tmp_path / "a.inr.safetensors"
    save_inr(path, loaded, image_of(loaded))
    drawing, modulation = load_inr(path)
    assert_close(render(drawing, modulation, VIEW), render(loaded, image_of(loaded), VIEW))
    sizes = file_sizes(loaded.generator.settings)
    assert sizes.modulation <= sizes.image < sizes.generator


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_weights_after_modulation_draw_the_image(name: str) -> None:
    loaded = loaded_as(name)
    weights = bake(loaded, image_of(loaded))
    drawn = render(baked_generator(loaded, weights), weights.modulation, VIEW)
    assert_close(drawn, render(loaded, image_of(loaded), VIEW))


@pytest.mark.parametrize(("name", "bends"), [("full", False), ("averaged", False), ("demod", True)])
def test_way_through_the_weights_is_that_through_w_where_there_are_no_factors(name: str, bends: bool) -> None:
    way, native = Interpolation(loaded_as(name), (5, 9)), loaded_as(name).generator.native_viewport
    middles = [list(way.images(way.path(space), 2, native))[1] for space in ("w", "image")]
    assert (np.abs(middles[0] - middles[1]).max() > 1e-3) == bends


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_generator_from_a_file_draws_the_same(name: str, tmp_path: Path) -> None:
    loaded, path = loaded_as(name), tmp_path / "a.safetensors"
    save_generator(path, loaded)
    again = load_generator(path)
    assert again.generator == loaded.generator
    np.testing.assert_array_equal(render(again, image_of(again), VIEW), render(loaded, image_of(loaded), VIEW))


def test_averaged_scales_are_exported_with_their_shares() -> None:
    loaded = loaded_as("averaged")
    exported = jax.export.deserialize(export_generator(loaded, "all").serialize())
    drawn = np.asarray(exported.call(latents(loaded, range(2)), None, loaded.generator.grid_arrays(VIEW)))
    assert_close(drawn, render_all(loaded, sample_modulations(loaded, range(2)), VIEW))


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_mixture_of_all_layers_is_the_other_image(name: str) -> None:
    loaded = loaded_as(name)
    rows, columns = (sample_modulations(loaded, [seed]) for seed in (5, 9))
    generator = loaded.generator
    mixed = mix_styles(generator, rows, columns, range(generator.num_layers))
    assert all(map(np.array_equal, jax.tree.leaves(mixed), jax.tree.leaves(columns)))
    # Two blocks of one layer; the second has a connector unless the blocks are networks of their own.
    assert generator.num_layers == (2 if name == "averaged" else 3)
