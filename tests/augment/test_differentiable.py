"""Differentiable augmentation: each policy does what the paper says and nothing else."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.augment.differentiable import DifferentiableSettings, Policy, augment, sample_inputs
from inr_gan_jax.augment.pipeline import RandomInputs

pytestmark = pytest.mark.usefixtures("x64")

SHAPE = (64, 8, 12, 3)
IMAGES = np.random.default_rng(0).uniform(0.1, 1, SHAPE)
ALL: tuple[Policy, ...] = ("color", "translation", "cutout")


@functools.cache
def program(policies: tuple[Policy, ...]) -> Any:
    return jax.jit(functools.partial(augment, DifferentiableSettings(policies)))


def drawn(policies: tuple[Policy, ...], strength: float | None = None) -> RandomInputs:
    inputs = sample_inputs(DifferentiableSettings(policies), jax.random.key(0), SHAPE[0], SHAPE[1:])
    if strength is None:
        return inputs
    return {name: leaves.replace(strength=jnp.full_like(leaves.strength, strength)) for name, leaves in inputs.items()}


def augmented(*policies: Policy, strength: float | None = None, p: float = 1.0) -> np.ndarray:
    return np.asarray(program(policies)(jnp.asarray(IMAGES), drawn(policies, strength), p))


def test_p_of_zero_is_the_identity() -> None:
    np.testing.assert_array_equal(augmented(*ALL, p=0.0), IMAGES)


def test_p_is_the_share_of_changed_images() -> None:
    changed = np.any(augmented("color", p=0.5) != IMAGES, axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, drawn(("color",))["color"].chance < 0.5)


@pytest.mark.parametrize(("strength", "offset", "saturation", "contrast"), [(0, -0.5, 0, 0.5), (0.75, 0.25, 1.5, 1.25)])
def test_colour_equals_its_formula(strength: float, offset: float, saturation: float, contrast: float) -> None:
    expected = IMAGES + offset
    grey = expected.mean(axis=3, keepdims=True)
    expected = grey + saturation * (expected - grey)
    mean = expected.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(augmented("color", strength=strength), mean + contrast * (expected - mean))


def test_middle_of_all_colour_strengths_is_the_identity() -> None:
    np.testing.assert_allclose(augmented("color", strength=0.5), IMAGES, atol=1e-14)


def translations() -> list[tuple[int, int]]:
    """How far each image moved: one place where the given image, moved there, is what came out."""
    found = []
    for before, after in zip(IMAGES, augmented("translation"), strict=True):
        padded = np.pad(before, ((8, 8), (12, 12), (0, 0)))
        places = [
            (8 - row, 12 - column)
            for row, column in np.ndindex(17, 25)
            if np.array_equal(padded[row : row + 8, column : column + 12], after)
        ]
        assert len(places) == 1
        found += places
    return found


def test_translation_takes_every_step_up_to_an_eighth() -> None:
    rows, columns = zip(*translations(), strict=True)
    assert set(rows) == {-1, 0, 1}
    assert set(columns) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(("ratio", "height", "width"), [(0.5, 4, 6), (0.4, 3, 5)])
def test_cutout_sets_a_rectangle_around_any_place_to_zero(ratio: float, height: int, width: int) -> None:
    settings = DifferentiableSettings(("cutout",), cutout_ratio=ratio)
    images = np.tile(IMAGES, (4, 1, 1, 1))
    inputs = sample_inputs(settings, jax.random.key(0), len(images), SHAPE[1:])
    result = np.asarray(jax.jit(functools.partial(augment, settings))(images, inputs, 1.0))
    assert np.all((result == 0) | (result == images))
    cut = np.all(result == 0, axis=3)
    for size, length, hit in ((8, height, cut.any(axis=2)), (12, width, cut.any(axis=1))):
        starts = range(-(length // 2), size - (length - 1) // 2)
        bands = {tuple(start <= place < start + length for place in range(size)) for start in starts}
        assert {tuple(row) for row in hit.tolist()} == bands
    np.testing.assert_array_equal(cut, cut.any(axis=2)[:, :, None] & cut.any(axis=1)[:, None, :])


def test_gradient_flows_through_all_policies() -> None:
    inputs, images = drawn(ALL), jnp.asarray(IMAGES)
    outputs, pull_back = jax.vjp(lambda batch: program(ALL)(batch, inputs, 1.0), images)
    zeros = program(ALL)(jnp.zeros_like(images), inputs, 1.0)
    # The policies are affine in the images: <A x, y> = <x, A' y>.
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    gradient = pull_back(cotangent)[0]
    np.testing.assert_allclose(jnp.sum((outputs - zeros) * cotangent), jnp.sum(images * gradient), rtol=1e-10)
    assert jnp.all(jnp.any(gradient != 0, axis=(1, 2, 3)))


def test_draws_are_float32_and_begin_with_the_batch() -> None:
    leaves = jax.tree.leaves(drawn(ALL))
    assert all(len(leaf) == 64 and leaf.dtype == jnp.float32 for leaf in leaves)
    assert all(leaf.min() >= 0 and leaf.max() < 1 for leaf in leaves)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": ("colour",)}, "policy is 'colour', expected one of color, translation, cutout"),
        ({"policies": ("color", "color")}, "policies are color, color, expected each at most once"),
        ({"cutout_ratio": 1.5}, "cutout_ratio is 1.5, expected 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DifferentiableSettings(**arguments)
