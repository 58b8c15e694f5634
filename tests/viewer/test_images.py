"""Images of a choice are those that the tools make."""

from pathlib import Path

import jax
import numpy as np
import pytest

from inr_gan_jax.inference.choices import SPACES, Space
from inr_gan_jax.inference.inr_file import load_inr, save_inr
from inr_gan_jax.inference.latent_paths import Interpolation
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.inference.style_mixing import mix_styles
from inr_gan_jax.sampling import Truncation
from inr_gan_jax.viewer.images import Images
from inr_gan_jax.viewer.scene import ImageChoice
from tests.closeness import assert_close
from tests.inference.tools import loaded_paper, loaded_release

NATIVE = loaded_paper().generator.native_viewport


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(loaded_paper())


@pytest.mark.parametrize("space", SPACES)
def test_way_is_that_of_the_interpolation(images: Images, space: Space) -> None:
    shown = images.get(ImageChoice(seed=3, other=4, share=0.3, space=space, psi=0.8))
    interpolation = Interpolation(loaded_paper(), (3, 4), truncation=Truncation(0.8))
    expected = interpolation.image(interpolation.path(space).at(0, 0.3), space, NATIVE)
    assert_close(shown.native, expected)


def test_ways_of_different_spaces_differ(images: Images) -> None:
    drawn = [images.get(ImageChoice(3, 4, 0.5, space)).native for space in SPACES]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
    assert np.abs(drawn[1] - drawn[2]).max() > 1e-3


def test_style_is_mixed_as_by_the_tool(images: Images) -> None:
    loaded = loaded_paper()
    both = sample_modulations(loaded, [1, 2])
    mixed = mix_styles(loaded.generator, select(both, slice(0, 1)), select(both, slice(1, 2)), (1, 2))
    expected = render(loaded, select(mixed, 0), NATIVE)
    shown = images.get(ImageChoice(seed=1, style=2, layers=(1, 2)))
    assert_close(shown.native, expected)
    assert np.abs(shown.native - images.get(ImageChoice(seed=1)).native).max() > 1e-3


def test_style_holds_on_a_way_through_weights(images: Images) -> None:
    start = images.get(ImageChoice(3, 4, 0.0, "image", style=2, layers=(1, 2)))
    alone = images.get(ImageChoice(3, style=2, layers=(1, 2)))
    assert_close(start.native, alone.native)


def test_image_is_made_once(images: Images) -> None:
    assert images.get(ImageChoice(8)) is images.get(ImageChoice(8))


def test_mean_of_weights_is_written_as_a_file_that_draws_it(tmp_path: Path) -> None:
    shown = Images(loaded_release()).get(ImageChoice(3, 4, 0.5, "image"))
    path = tmp_path / "image.inr.safetensors"
    save_inr(path, shown.loaded, shown.modulation)
    loaded, modulation = load_inr(path)
    native = render(loaded, modulation, loaded.generator.native_viewport)
    assert_close(native, shown.native)


def test_images_between_others_have_arrays_of_the_same_shapes() -> None:
    # Programs are compiled for them.
    images = Images(loaded_release())
    alone, between = images.get(ImageChoice(8)), images.get(ImageChoice(8, 9, 0.5, "image"))
    for one, other in ((alone.modulation, between.modulation), (alone.loaded.variables, between.loaded.variables)):
        shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (one, other)]
        assert shapes[0] == shapes[1]


def test_all_images_have_variables_of_one_structure(images: Images) -> None:
    alone, between = images.get(ImageChoice(8)), images.get(ImageChoice(8, 9, 0.5, "image"))
    assert jax.tree.structure(alone.loaded.variables) == jax.tree.structure(between.loaded.variables)
    assert "hypernetwork" not in alone.loaded.variables["params"]
