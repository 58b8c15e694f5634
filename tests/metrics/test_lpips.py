"""LPIPS against recorded values (vgg) and against a plain NumPy computation (alex, squeeze)."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.lpips import alexnet_shapes, load_lpips, lpips, lpips_embedding
from inr_gan_jax.metrics.networks.squeezenet import squeezenet_1_1_shapes
from inr_gan_jax.metrics.networks.vgg16 import convolution_shapes, vgg16_taps
from inr_gan_jax.metrics.networks.weight_files import Shapes
from tests.golden import records
from tests.importers.official_format import state_dict_of, write_torch_zip
from tests.metrics import golden
from tests.metrics.plain_layers import plain_convolution, plain_pool

SHAPES: Mapping[str, Callable[[], Shapes]] = {
    "vgg": convolution_shapes,
    "alex": alexnet_shapes,
    "squeeze": squeezenet_1_1_shapes,
}
CHANNELS = {
    "vgg": (64, 128, 256, 512, 512),
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}


def heads(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {f"lin{index}": rng.random(count, np.float32) for index, count in enumerate(CHANNELS[name])}


def load(folder: Path, name: str, heads_path: Path | None = None) -> tuple[Any, dict[str, np.ndarray]]:
    """Params through files of both kinds, and the backbone's arrays."""
    weights = golden.seeded_weights(SHAPES[name](), 20140904)
    write_torch_zip(folder / "backbone.pth", state_dict_of(weights))
    if heads_path is None:
        heads_path = folder / "heads.pth"
        long = {f"{key}.model.1.weight": value.reshape(1, -1, 1, 1) for key, value in heads(name).items()}
        write_torch_zip(heads_path, state_dict_of(long))
    return load_lpips(name, folder / "backbone.pth", heads_path)[0], weights


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tmp_path_factory.mktemp("lpips"), "vgg")[0]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The seeded backbone with the heads of the LPIPS package."""
    path = records.shared_file("data/lpips_v0.1/vgg.npz", "the heads of LPIPS 0.1 (lin0 to lin4, float32) are")
    return load(tmp_path_factory.mktemp("lpips"), "vgg", path)[0]


def recorded_pairs(dtype: Any) -> tuple[Any, Any]:
    """The far and the near pair, as a batch."""
    images = jnp.asarray(records.load("vgg_lpips")["images"], dtype) / 127.5 - 1
    return jnp.stack([images[0], images[0]]), jnp.stack([images[1], 0.75 * images[0] + 0.25 * images[1]])


@functools.cache
def compiled(name: str) -> Any:
    return jax.jit(functools.partial(lpips, name))


def test_vgg_distances_equal_the_recorded_ones(published: Any, x64: None) -> None:
    recorded = records.load("vgg_lpips")
    ours = compiled("vgg")(published, *recorded_pairs(np.float64))
    np.testing.assert_allclose(ours, [recorded["lpips.far_f64"], recorded["lpips.near_f64"]], rtol=1e-12)


def test_vgg_distances_with_heads_of_one_equal_the_recorded_one(vgg: Any, x64: None) -> None:
    ones = jax.tree.map(np.ones_like, vgg["heads"])
    ours = compiled("vgg")({**vgg, "heads": ones}, *recorded_pairs(np.float64))
    # Constants of the package are float32.
    np.testing.assert_allclose(ours[0], records.load("vgg_lpips")["lpips.far_baseline_f64"], rtol=1e-9)


def test_vgg_distances_weigh_the_taps_that_equal_recorded_ones(vgg: Any, x64: None) -> None:
    pairs = recorded_pairs(np.float64)
    # Equal to the recorded ones in test_vgg16.py.
    maps = [jax.jit(vgg16_taps)(vgg["backbone"], images) for images in pairs]
    expected = np.zeros(2)
    for (name, first), head in zip(maps[0].items(), heads("vgg").values(), strict=True):
        one, other = (x / (np.linalg.norm(x, axis=3, keepdims=True) + 1e-10) for x in (first, maps[1][name]))
        expected += np.sum(head * np.square(one - other), axis=3).mean((1, 2))
    np.testing.assert_allclose(compiled("vgg")(vgg, *pairs), expected, rtol=1e-11)


def test_vgg_distances_in_single_precision_equal_the_package(published: Any) -> None:
    ours = compiled("vgg")(published, *recorded_pairs(np.float32))
    np.testing.assert_allclose(ours[0], records.load("vgg_lpips")["lpips.far_package_f32"], rtol=1e-5)


@pytest.mark.slow
def test_embedding_has_the_distances_of_lpips(tmp_path: Path) -> None:
    params, _ = load(tmp_path, "alex")
    first, second = jax.random.uniform(jax.random.key(0), (2, 3, 31, 40, 3), minval=-1)
    pairs = zip(*(lpips_embedding("alex", params, images) for images in (first, second)), strict=True)
    squares = sum(jnp.sum(jnp.square(one - other), axis=(1, 2, 3)) for one, other in pairs)
    np.testing.assert_allclose(squares, lpips("alex", params, first, second), rtol=1e-5)


@functools.cache
def compiled_gradient() -> Any:
    """From params and an image to the gradient of its distance to the second recorded one."""
    return jax.jit(jax.grad(lambda image, params, other: lpips("vgg", params, image[None], other[None])[0]))


def test_vgg_gradient_equals_the_recorded_one(published: Any) -> None:
    images = jnp.asarray(records.load("vgg_lpips")["images"], jnp.float32) / 127.5 - 1
    gradient = compiled_gradient()(images[0], published, images[1])
    assert golden.relative_l2(gradient, records.load("vgg_lpips")["lpips.far_grad_image0_f32"]) < 1e-4


@pytest.mark.slow
def test_gradient_is_finite_where_no_feature_is_active(vgg: Any) -> None:
    silent = {**vgg, "backbone": jax.tree.map(np.zeros_like, vgg["backbone"])}
    image = jnp.ones((64, 64, 3))
    assert bool(jnp.isfinite(compiled_gradient()(image, silent, -image)).all())


def plain_alex(x: np.ndarray, weights: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    maps = [plain_convolution(x, weights, "features.0", 4, 2)]
    maps.append(plain_convolution(plain_pool(maps[-1], False), weights, "features.3", 1, 2))
    maps.append(plain_convolution(plain_pool(maps[-1], False), weights, "features.6", 1, 1))
    maps.append(plain_convolution(maps[-1], weights, "features.8", 1, 1))
    maps.append(plain_convolution(maps[-1], weights, "features.10", 1, 1))
    return maps


def plain_squeeze(x: np.ndarray, weights: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    def fire(x: np.ndarray, index: int) -> np.ndarray:
        squeezed = plain_convolution(x, weights, f"features.{index}.squeeze", 1, 0)
        parts = [plain_convolution(squeezed, weights, f"features.{index}.expand{k}x{k}", 1, k // 2) for k in (1, 3)]
        return np.concatenate(parts)

    maps = [plain_convolution(x, weights, "features.0", 2, 0)]
    for first, second in ((3, 4), (6, 7)):
        maps.append(fire(fire(plain_pool(maps[-1], True), first), second))
    maps.append(fire(plain_pool(maps[-1], True), 9))
    for index in (10, 11, 12):
        maps.append(fire(maps[-1], index))
    return maps


@pytest.mark.parametrize(("name", "plain"), [("alex", plain_alex), ("squeeze", plain_squeeze)])
def test_distance_equals_a_plain_computation(name: str, plain: Any, tmp_path: Path, x64: None) -> None:
    params, weights = load(tmp_path, name)
    first, second = np.random.default_rng(0).uniform(-1, 1, (2, 1, 34, 47, 3))
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    maps = [plain(((image[0] - shift) / scale).transpose(2, 0, 1), weights) for image in (first, second)]
    expected = 0.0
    for *pair, head in zip(*maps, heads(name).values(), strict=True):
        one, other = (x / (np.linalg.norm(x, axis=0) + 1e-10) for x in pair)
        expected += np.sum(head[:, None, None] * (one - other) ** 2, axis=0).mean()
    ours = compiled(name)(params, jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(ours, [expected], rtol=1e-10)


def test_images_too_small_for_a_backbone_are_refused(vgg: Any) -> None:
    with pytest.raises(ValueError, match="sides of at least 16 pixels"):
        lpips("vgg", vgg, jnp.zeros((1, 15, 40, 3)), jnp.zeros((1, 15, 40, 3)))


def test_heads_of_another_backbone_are_refused(tmp_path: Path) -> None:
    weights = golden.seeded_weights(SHAPES["alex"](), 0)
    write_torch_zip(tmp_path / "alexnet.pth", state_dict_of(weights))
    np.savez(tmp_path / "heads.npz", **heads("squeeze"))  # pyright: ignore[reportArgumentType] - no keywords
    with pytest.raises(UserError, match=r"'lin1' has the shape \(128,\), expected \(192,\)"):
        load_lpips("alex", tmp_path / "alexnet.pth", tmp_path / "heads.npz")
