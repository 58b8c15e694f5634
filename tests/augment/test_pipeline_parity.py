"""The ADA pipeline equals the recorded tensors of the official implementation."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erfinv

from inr_gan_jax.augment.geometry import LOW_PASS
from inr_gan_jax.augment.pipeline import PIPELINES, AugmentSettings, RandomInput, RandomInputs, augment, sample_inputs
from inr_gan_jax.augment.transforms import filter_bank
from tests.golden.records import assert_matches, channels_last, load, relative_error
from tests.golden_release import compiled, float32_bar, noise_floors

TOLERANCE = 1e-9
# Everything that is on in one program; an augmentation that is not tried is given a chance of 1, so it never happens.
SETTINGS = PIPELINES["bgcfnc"]
GROUPS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "pre_rotation", "post_rotation", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
}
GROUPS["bg"] = GROUPS["blit"] + GROUPS["geom"]
GROUPS["bgc"] = GROUPS["bg"] + GROUPS["color"]
GROUPS["bgcf"] = (*GROUPS["bgc"], "imgfilter")
SINGLE = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac", *GROUPS["color"], "imgfilter", "cutout")
UNIFORM = ("xflip", "rotate90", "xint", "pre_rotation", "post_rotation", "lumaflip", "hue", "cutout")

cases = pytest.mark.parametrize(
    ("name", "percentile"), [(name, percentile) for name in (*SINGLE, *GROUPS) for percentile in ("0.1", "0.5", "0.9")]
)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def golden() -> Mapping[str, Any]:
    """Recorded inputs, and outputs of the computation in float64."""
    return load("ada")


def draw_shapes(settings: AugmentSettings, shape: tuple[int, ...]) -> RandomInputs:
    return jax.eval_shape(lambda: sample_inputs(settings, jax.random.key(0), shape[0], shape[1:]))


def draws_at(names: tuple[str, ...], percentile: float) -> RandomInputs:
    """What the official debugging switch inputs: all at one percentile, normal numbers without the factor sqrt(2)."""

    def drawn(name: str, shapes: RandomInput) -> RandomInput:
        value = percentile if name in UNIFORM else float(erfinv(2 * percentile - 1))
        value = 0.5 if name == "post_rotation" else value
        chance = 0.0 if name in names else 1.0
        pixels = None if shapes.pixels is None else np.zeros(shapes.pixels.shape)
        return RandomInput(np.full(shapes.strength.shape, value), np.full(shapes.chance.shape, chance), pixels)

    images = golden()["images"]
    shapes = draw_shapes(SETTINGS, channels_last(images).shape)
    return {name: drawn(name, leaves) for name, leaves in shapes.items()}


@compiled
def outputs_and_gradients(images: jax.Array, cotangent: jax.Array, inputs: RandomInputs, p: jax.Array) -> Any:
    outputs, pull_back = jax.vjp(lambda batch: augment(SETTINGS, batch, inputs, p), images)
    return outputs, pull_back(cotangent)[0]


@functools.cache
def augmented(name: str, percentile: str, p: float = 1.0) -> Any:
    names = ("pre_rotation",) if name == "rotate" else GROUPS.get(name, (name,))
    images, cotangent = (jnp.asarray(channels_last(golden()[key]), jnp.float64) for key in ("images", "cotangent"))
    return outputs_and_gradients(images, cotangent, draws_at(names, float(percentile)), jnp.asarray(p))


@functools.cache
def random_run() -> tuple[jax.Array, RandomInputs, float]:
    """Images, inputs and p of the recorded run; it drew strength and chance in turn, in the order of the pipeline."""
    log = iter([golden()[key] for key in sorted(golden()) if key.startswith("rand/draw")])
    shapes = draw_shapes(PIPELINES["bgc"], (8, 32, 32, 3))
    order = (*GROUPS["blit"], "scale", "pre_rotation", "aniso", "post_rotation", "xfrac", *GROUPS["color"])
    inputs = {name: RandomInput(next(log).reshape(shapes[name].strength.shape), next(log).reshape(8)) for name in order}
    assert next(log, None) is None
    return jnp.asarray(channels_last(golden()["rand/images"])), inputs, float(golden()["rand/p"])


@cases
def test_images_equal_the_recorded(name: str, percentile: str) -> None:
    outputs, _ = augmented(name, percentile)
    assert outputs.dtype == jnp.float64
    assert_matches(outputs, channels_last(golden()[f"{name}/{percentile}"]), TOLERANCE)


@cases
def test_gradients_equal_the_recorded(name: str, percentile: str) -> None:
    _, gradients = augmented(name, percentile)
    assert_matches(gradients, channels_last(golden()[f"vjp/{name}/{percentile}"]), TOLERANCE)


def test_p_of_zero_is_the_identity() -> None:
    outputs, _ = augmented("bgcf", "0.9", p=0.0)
    assert relative_error(outputs, channels_last(golden()["images"])) <= 1e-11


@functools.cache
def random_run_in_double() -> jax.Array:
    images, inputs, p = random_run()
    settings = dataclasses.replace(PIPELINES["bgc"], shared_margin=True)
    return compiled(lambda batch: augment(settings, batch, inputs, p))(images.astype(jnp.float64))


def test_random_run_equals_the_recorded() -> None:
    assert_matches(random_run_in_double(), channels_last(golden()["rand/out"]), TOLERANCE)


def test_random_run_in_float32_is_within_its_noise_with_margins_of_its_own() -> None:
    images, inputs, p = random_run()
    ours = compiled(lambda batch: augment(PIPELINES["bgc"], batch, inputs, p))(images)
    assert ours.dtype == jnp.float32
    assert relative_error(ours, random_run_in_double()) <= float32_bar(noise_floors("ada")["rand"])


def test_filters_equal_the_recorded() -> None:
    assert relative_error(LOW_PASS, golden()["Hz_geom"]) <= 1e-15
    assert relative_error(filter_bank(), golden()["Hz_fbank"]) <= 1e-12
