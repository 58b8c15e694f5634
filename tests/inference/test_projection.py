"""Inversion finds what the generator drew, the same every time, for each picture alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import draw_modulations
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_all
from inr_gan_jax.inference.projection import Projection, ProjectionSettings, find_origin, learning_rate, project
from tests.closeness import assert_close
from tests.conftest import small_release_config, tiny_config
from tests.inference.tools import random_generator

SETTINGS = ProjectionSettings(space="w", num_steps=120, num_samples=64)
NAMES = ("first", "second")


@functools.cache
def generator(kind: str) -> LoadedGenerator:
    if kind == "paper":
        return random_generator(tiny_config())
    loaded = random_generator(small_release_config())
    # Its layers have a learning rate of 0.01 and so need large weights.
    mapping = jax.tree.map(lambda leaf: 100 * leaf, loaded.variables["params"]["mapping_network"])
    params = {**loaded.variables["params"], "mapping_network": mapping}
    return dataclasses.replace(loaded, variables={**loaded.variables, "params": params})


@pytest.fixture
def paper() -> LoadedGenerator:
    return generator("paper")


def own_pictures(loaded: LoadedGenerator) -> np.ndarray:
    return render_all(loaded, draw_modulations(loaded, (3, 4)), loaded.generator.native_viewport)


@functools.cache
def projected(kind: str, settings: ProjectionSettings) -> Projection:
    return project(generator(kind), own_pictures(generator(kind)), NAMES, settings)


def assert_equal(first: object, second: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("space", ["w", "modulation"])
def test_own_pictures_are_recovered(space: str) -> None:
    losses = projected("paper", SETTINGS.replace(space=space)).losses
    assert losses.shape == (120, 2)
    assert (losses[-1] < losses[0] / 50).all()


def test_result_draws_what_the_loss_says(paper: LoadedGenerator) -> None:
    found = projected("paper", SETTINGS)
    drawn = render_all(paper, found.codes.modulations, paper.generator.native_viewport)
    # The last step's rate is nearly nothing.
    np.testing.assert_allclose(np.mean((drawn - own_pictures(paper)) ** 2, axis=(1, 2, 3)), found.losses[-1], rtol=0.05)


def test_search_repeats_itself(paper: LoadedGenerator) -> None:
    again = project(paper, own_pictures(paper), NAMES, SETTINGS)
    assert_equal(again.codes.ws, projected("paper", SETTINGS).codes.ws)


def test_step_is_measured_in_deviations_of_the_code(paper: LoadedGenerator) -> None:
    # The first rate is 0, the second the whole one, and Adam moves by the rate while the gradient stays.
    settings = SETTINGS.replace(num_steps=2, initial_noise=0.0)
    found, origin = projected("paper", settings).codes.ws, find_origin(paper, 2, settings)
    moves = np.abs(found - origin.code).max(axis=(1, 2))
    np.testing.assert_allclose(moves, settings.learning_rate * origin.scale[:, 0, 0], rtol=1e-3)


def test_noise_is_added_at_the_start_and_gone_at_the_end() -> None:
    settings = SETTINGS.replace(learning_rate=0.0, num_steps=4)
    noisy, still = (projected("paper", settings.replace(initial_noise=noise)).losses for noise in (0.05, 0.0))
    assert (np.abs(noisy[:3] / still[:3] - 1).max(axis=1) > 1e-3).all()
    np.testing.assert_allclose(noisy[3], still[3], rtol=1e-6)


def test_another_seed_finds_another_code() -> None:
    settings = SETTINGS.replace(seed=1, num_steps=3)
    other = projected("paper", settings), projected("paper", settings.replace(seed=0))
    assert np.abs(other[0].codes.ws - other[1].codes.ws).max() > 1e-3


def test_picture_is_projected_as_it_would_be_alone(paper: LoadedGenerator) -> None:
    settings = SETTINGS.replace(num_steps=3)
    both = projected("paper", settings)
    alone = project(paper, own_pictures(paper)[1:], NAMES[1:], settings)
    assert_close(alone.codes.ws[0], both.codes.ws[1])


def test_w_plus_moves_every_layer_on_its_own() -> None:
    ws = np.asarray(projected("release", SETTINGS.replace(space="w+", num_steps=3)).codes.ws)
    assert ws.shape == (2, 4, 8)
    assert (np.abs(ws[:, 1:] - ws[:, :1]).max(axis=2) > 0).all()


def test_w_is_one_code_for_all_layers() -> None:
    origins = [find_origin(generator("release"), 2, SETTINGS.replace(space=space)) for space in ("w", "w+")]
    assert [origin.code.shape for origin in origins] == [(2, 1, 8), (2, 4, 8)]


def test_features_alone_can_lead(paper: LoadedGenerator) -> None:
    # Twice the inverted picture: the least distance is that of the picture itself.
    settings = SETTINGS.replace(pixel_weight=0.0, initial_noise=0.0)
    found = project(paper, own_pictures(paper), NAMES, settings, features=lambda images: [-2 * images])
    assert (found.losses[-1] < found.losses[0] / 50).all()
    pixels = np.mean((own_pictures(paper) - start_picture(paper)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(found.losses[0], 4 * 64 * pixels, rtol=1e-4)


def start_picture(loaded: LoadedGenerator) -> np.ndarray:
    origin = find_origin(loaded, 1, SETTINGS)
    return np.asarray(loaded.generator.batch_synthesis(loaded.variables, origin.code))


def test_origin_is_the_mean_of_w(paper: LoadedGenerator) -> None:
    z = jax.random.normal(jax.random.key(0), (64, 8))
    w = np.asarray(paper.generator.batch_mapping(paper.variables, z))[:, 0]
    origin = find_origin(paper, 2, SETTINGS)
    assert_close(origin.code[1, 0], w.mean(axis=0))
    np.testing.assert_allclose(origin.scale[:, 0, 0], np.sqrt(w.var(axis=0).mean()), rtol=1e-5)


def test_labels_move_the_origin_to_the_mean_of_their_class() -> None:
    loaded = random_generator(tiny_config(data={"num_classes": 3}))
    one_hot = jnp.eye(3)
    code = find_origin(loaded, 3, SETTINGS, one_hot[jnp.array([2, 0, 2])]).code
    np.testing.assert_array_equal(code[0], code[2])
    assert np.abs(code[0] - code[1]).max() > 1e-2


def test_rate_rises_stays_and_falls() -> None:
    settings = ProjectionSettings(num_steps=1000, learning_rate=0.2)
    rates = [float(learning_rate(settings, index)) for index in (0, 25, 50, 750, 875, 1000)]
    assert_close(np.float32(rates), [0, 0.1, 0.2, 0.2, 0.1, 0])


def test_loss_that_is_not_finite_is_one_sentence(paper: LoadedGenerator) -> None:
    settings = SETTINGS.replace(num_steps=3, learning_rate=float("inf"))
    with pytest.raises(UserError, match="the loss is not finite after 3 steps"):
        project(paper, own_pictures(paper), NAMES, settings)
