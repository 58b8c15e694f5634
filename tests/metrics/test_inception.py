"""The Inception network against recorded values of torch-fidelity with seeded weights."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.metrics.networks.inception import features_of_maps, inception_input, inception_maps, inception_params
from inr_gan_jax.metrics.networks.inception_weights import torch_shapes
from inr_gan_jax.ops.resample import tf1_resize
from tests.golden import records
from tests.metrics import golden

SEED = 20151205
# Height, width and seed of the synthetic images.
SYNTHETIC = {"s64": (64, 64, 1064), "s256": (256, 256, 1256), "s299": (299, 299, 1299), "rect": (320, 200, 1320)}
# A photograph is in the full recordings only.
CASES = tuple(case for case in (*SYNTHETIC, "china") if f"{case}.f64.2048" in records.load("inception"))
TAPS = ("64", "192", "768", "2048", "logits_unbiased", "logits")
BLOCKS_OF = tuple(case for case in CASES if case in ("s299", "china"))


@functools.cache
def seeded_weights() -> Mapping[str, np.ndarray]:
    recorded = records.load("inception")
    weights = golden.seeded_weights(torch_shapes(), SEED)
    golden.assert_fingerprints(weights, recorded)
    return weights


def image_of(case: str) -> np.ndarray:
    """The first image of a case: 8x8 colours with noise, as the recording program made it, or the photograph."""
    if case not in SYNTHETIC:
        return records.load("inception")[f"{case}.images"][:1]
    height, width, seed = SYNTHETIC[case]
    rng = np.random.Generator(np.random.PCG64(seed))
    # Of `rect` one image was drawn, of the others four.
    count = 1 if case == "rect" else 4
    colours, noise = rng.random((count, 8, 8, 3))[0], rng.random((count, height, width, 3))[0]
    rows, columns = (8 * np.arange(side) // side for side in (height, width))
    return np.floor(192 * colours[rows][:, columns] + 64 * noise).astype(np.uint8)[None]


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

    inputs = jnp.concatenate([inception_input(jnp.asarray(image_of(case), dtype)) for case in CASES])
    return jax.device_get(jax.jit(compute)(seeded_params(), inputs))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_taps_equal_recorded_ones_in_single_precision(case: str) -> None:
    recorded, (features, _) = records.load("inception"), computed(np.float32)
    for name in TAPS:
        assert golden.relative_l2(features[name][CASES.index(case)], recorded[f"{case}.f64.{name}"][0]) < 1e-5, name


@pytest.mark.parametrize("case", CASES)
def test_taps_equal_recorded_ones_in_double_precision(case: str, x64: None) -> None:
    recorded, (features, _) = records.load("inception"), computed(np.float64)
    for name in TAPS:
        assert golden.relative_l2(features[name][CASES.index(case)], recorded[f"{case}.f64.{name}"][0]) < 1e-10, name


@pytest.mark.parametrize("case", BLOCKS_OF)
def test_every_block_equals_the_recorded_one(case: str, x64: None) -> None:
    recorded, (_, blocks) = records.load("inception"), computed(np.float64)
    for name, summaries in blocks.items():
        for kind, values in summaries.items():
            theirs = recorded[f"{case}.block.{name}.{kind}_f64"]
            records.assert_matches(values[CASES.index(case)], theirs, 1e-10)


@pytest.mark.parametrize("case", CASES)
def test_resize_equals_tensorflow_one(case: str, x64: None) -> None:
    theirs = records.load("inception")[f"{case}.resized_f64_grid13"][:1]
    resize = jax.jit(functools.partial(tf1_resize, size=(299, 299)))
    # A position, up to 320, is rounded to float32; fused arithmetic rounds it otherwise.
    for dtype, tolerance in ((jnp.float32, 320 * float(np.finfo(np.float32).eps)), (jnp.float64, 1e-13)):
        resized = np.asarray(resize(jnp.asarray(image_of(case), dtype)))
        records.assert_matches(resized[:, ::13, ::13], theirs, tolerance)


def test_resize_starts_at_the_first_sample_and_repeats_the_last() -> None:
    ramp = jnp.arange(4.0).reshape(1, 4, 1, 1)
    resized = tf1_resize(ramp, (8, 1))[0, :, 0, 0]
    np.testing.assert_allclose(resized, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
