"""The Inception network against recorded values of torch-fidelity with seeded weights."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.metrics.inception import features_of_maps, inception_input, inception_maps, inception_params
from inr_gan_jax.metrics.inception_weights import torch_shapes
from inr_gan_jax.ops.tf1_resize import tf1_resize
from tests.metrics import golden

SEED = 20151205
CASES = ("s64", "s256", "s299", "rect", "china")
TAPS = ("64", "192", "768", "2048", "logits_unbiased", "logits")
BLOCKS_OF = ("s299", "china")


@functools.cache
def seeded_weights() -> Mapping[str, np.ndarray]:
    recorded = golden.load("inception")
    weights = golden.seeded_weights(torch_shapes(), SEED)
    golden.assert_fingerprints(weights, recorded)
    return weights


@functools.cache
def seeded_params() -> Any:
    return inception_params(seeded_weights())


@functools.cache
def computed(dtype: Any) -> tuple[Mapping[str, np.ndarray], Mapping[str, Mapping[str, np.ndarray]]]:
    """Features and, by block, (channel means, corner) of the first image of every case, in one batch."""

    def compute(params: Any, inputs: Any) -> Any:
        maps = inception_maps(params, inputs)
        blocks = {
            name: {"chmean": jnp.mean(block, axis=(1, 2)), "corner": block[:, :4, :4, :8]}
            for name, block in maps.items()
        }
        return features_of_maps(params, maps), blocks

    images = [jnp.asarray(golden.load("inception")[f"{case}.images"][:1], dtype) for case in CASES]
    inputs = jnp.concatenate([inception_input(batch) for batch in images])
    return jax.device_get(jax.jit(compute)(seeded_params(), inputs))


@pytest.mark.parametrize("case", CASES)
def test_taps_equal_recorded_ones_in_single_precision(case: str) -> None:
    recorded, (features, _) = golden.load("inception"), computed(np.float32)
    for name in TAPS:
        assert golden.relative_l2(features[name][CASES.index(case)], recorded[f"{case}.f32.{name}"][0]) < 1e-5, name


@pytest.mark.parametrize("case", CASES)
def test_taps_equal_recorded_ones_in_double_precision(case: str, x64: None) -> None:
    recorded, (features, _) = golden.load("inception"), computed(np.float64)
    for name in TAPS:
        assert golden.relative_l2(features[name][CASES.index(case)], recorded[f"{case}.f64.{name}"][0]) < 1e-10, name


@pytest.mark.parametrize("case", BLOCKS_OF)
def test_every_block_equals_the_recorded_one(case: str, x64: None) -> None:
    recorded, (_, blocks) = golden.load("inception"), computed(np.float64)
    for name, summaries in blocks.items():
        for kind, values in summaries.items():
            theirs = recorded[f"{case}.block.{name}.{kind}_f64"]
            assert golden.relative_l2(values[CASES.index(case)], theirs) < 1e-10, (name, kind)


@pytest.mark.parametrize("case", CASES)
def test_resize_equals_tensorflow_one(case: str, x64: None) -> None:
    recorded = golden.load("inception")
    for dtype, precision, tolerance in ((jnp.float32, "f32", 2e-3), (jnp.float64, "f64", 1e-11)):
        resize = jax.jit(functools.partial(tf1_resize, size=(299, 299)))
        resized = np.asarray(resize(jnp.asarray(recorded[f"{case}.images"], dtype)))
        theirs = recorded[f"{case}.resized_{precision}_grid13"]
        np.testing.assert_allclose(resized[:, ::13, ::13], theirs, rtol=0, atol=tolerance)
        if precision == "f32" and f"{case}.resized_f32_image0" in recorded:
            np.testing.assert_allclose(resized[0], recorded[f"{case}.resized_f32_image0"], rtol=0, atol=tolerance)


def test_resize_starts_at_the_first_sample_and_repeats_the_last() -> None:
    ramp = jnp.arange(4.0).reshape(1, 4, 1, 1)
    resized = tf1_resize(ramp, (8, 1))[0, :, 0, 0]
    np.testing.assert_allclose(resized, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
