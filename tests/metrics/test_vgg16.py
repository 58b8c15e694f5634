"""VGG16's taps and the perceptual distance against recorded values of torchvision with seeded weights."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.vgg16 import (
    TAPS,
    convolution_shapes,
    load_vgg16,
    perceptual_distance,
    vgg16_fc2,
    vgg16_taps,
)
from tests.golden import records
from tests.importers.official_format import state_dict_of, write_torch_zip
from tests.metrics import golden

SEED = 20140904


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's file with the seeded weights; its fully connected layers are left out."""
    weights = golden.seeded_weights(convolution_shapes(), SEED)
    golden.assert_fingerprints(weights, records.load("vgg_lpips"))
    path = tmp_path_factory.mktemp("vgg") / "vgg16-397923af.pth"
    write_torch_zip(path, state_dict_of(weights))
    return path


@pytest.fixture(scope="module")
def params(weights_path: Path) -> Any:
    return load_vgg16(weights_path)


def images(dtype: Any) -> Any:
    return jnp.asarray(records.load("vgg_lpips")["images"], dtype) / 127.5 - 1


@functools.cache
def compiled_taps() -> Any:
    return jax.jit(vgg16_taps, static_argnames="last")


def test_taps_equal_recorded_ones_in_double_precision(params: Any, x64: None) -> None:
    recorded = records.load("vgg_lpips")
    taps = compiled_taps()(params, images(np.float64))
    assert tuple(taps) == TAPS
    for name, tap in taps.items():
        assert golden.relative_l2(tap.mean((1, 2)), recorded[f"tap.{name}.chmean_f64"]) < 1e-12, name


def test_taps_equal_recorded_ones_to_float32_rounding(params: Any) -> None:
    recorded = records.load("vgg_lpips")
    taps = compiled_taps()(params, images(np.float32))
    for name, tap in taps.items():
        assert golden.relative_l2(tap[..., :8], recorded[f"tap.{name}.first8_f32"]) < 2e-5, name
        assert golden.relative_l2(tap.mean((1, 2)), recorded[f"tap.{name}.chmean_f32run"]) < 2e-5, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_perceptual_distance_equals_the_recorded_vgg_loss(params: Any, dtype: Any, tolerance: float) -> None:
    with jax.enable_x64(dtype is np.float64):
        pair = images(dtype)
        ours = jax.jit(perceptual_distance)(params, pair, pair[::-1])
    np.testing.assert_allclose(ours, [records.load("vgg_lpips")["vggloss.sum_f64"]] * 2, rtol=tolerance)


def test_perceptual_distance_sums_weighted_taps(params: Any) -> None:
    recorded = records.load("vgg_lpips")
    pair = images(np.float32)
    distance = jax.jit(functools.partial(perceptual_distance, tap_weights=(0.5, 2.0)))
    ours = distance(params, pair, jnp.stack([pair[1], pair[1]]))
    expected = 0.5 * recorded["vggloss.per_tap_f64"][0] + 2 * recorded["vggloss.per_tap_f64"][1]
    np.testing.assert_allclose(ours, [expected, 0], rtol=2e-5)


def test_gradient_of_the_distance_is_its_slope(params: Any, x64: None) -> None:
    generated, real = images(np.float64)[:, :16, :16]

    @jax.jit
    def distance(step: Any, params: Any) -> Any:
        # Towards the real image the slope is steep, so that the kinks of ReLU beside it do not count.
        return perceptual_distance(params, (generated + step * (real - generated))[None], real[None], (1.0, 1.0))[0]

    slope = (distance(1e-7, params) - distance(-1e-7, params)) / 2e-7
    np.testing.assert_allclose(jax.jit(jax.grad(distance))(0.0, params), slope, rtol=1e-6)


def test_earlier_last_tap_leaves_the_later_ones_out(params: Any) -> None:
    taps = jax.eval_shape(functools.partial(vgg16_taps, last="relu2_2"), params, images(np.float32))
    assert {name: tap.shape for name, tap in taps.items()} == {"relu1_2": (2, 64, 64, 64), "relu2_2": (2, 32, 32, 128)}


def test_images_too_small_for_a_tap_are_refused(params: Any) -> None:
    with pytest.raises(ValueError, match="sides of at least 16 pixels for relu5_3"):
        vgg16_taps(params, jnp.zeros((2, 8, 32, 3)))


@pytest.mark.parametrize("tap_weights", [(), (1.0,) * 6])
def test_number_of_tap_weights_is_checked(params: Any, tap_weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected 1 to 5"):
        perceptual_distance(params, jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 32, 32, 3)), tap_weights)


def test_missing_file_says_which_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.pth does not exist, expected the state_dict of torchvision's vgg16"):
        load_vgg16(tmp_path / "absent.pth")


def test_dense_features_equal_a_plain_computation(params: Any) -> None:
    rng = np.random.default_rng(0)
    sizes = {"classifier.0": (512 * 7 * 7, 6), "classifier.3": (6, 4)}
    dense = {
        name: {"kernel": rng.normal(size=size).astype(np.float32), "bias": rng.normal(size=size[1]).astype(np.float32)}
        for name, size in sizes.items()
    }
    pixels = jnp.asarray(rng.uniform(0, 255, (1, 224, 224, 3)), jnp.float32)

    @jax.jit
    def compute(params: Any, pixels: Any) -> Any:
        return vgg16_fc2({**params, **dense}, pixels), vgg16_taps(params, pixels / 127.5 - 1)["relu5_3"]

    ours, maps = jax.device_get(compute(params, pixels))
    pooled = maps.reshape(7, 2, 7, 2, 512).max(axis=(1, 3))
    # PyTorch flattens channels first.
    expected = pooled.transpose(2, 0, 1).reshape(-1).astype(np.float64)
    for entries in dense.values():
        expected = np.maximum(expected @ entries["kernel"] + entries["bias"], 0)
    assert (expected > 0).any()
    np.testing.assert_allclose(ours[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_dense_layers_are_read_where_they_are_asked_for(weights_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no array 'classifier\.0\.weight'"):
        load_vgg16(weights_path, with_dense_layers=True)
