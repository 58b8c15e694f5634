"""SqueezeNet's features against recorded ones, and the distance that they make."""

import functools
import io
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor, collect
from inr_gan_jax.metrics.frechet import FeatureStats, frechet_distance
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS
from inr_gan_jax.metrics.networks.registry import FeatureNetwork, load_feature_network
from inr_gan_jax.metrics.networks.squeezenet import load_squeezenet, squeezenet_shapes
from tests.golden import records
from tests.metrics import golden
from tests.metrics.plain_layers import plain_convolution, plain_pool

# Of each half of the flowers; all 3,480 take minutes (benchmarks/metrics.py).
NUM_FLOWERS = 4


@functools.cache
def extractor() -> FeatureExtractor:
    """With the published weights."""
    weights = records.shared_file(
        "data/squeezenet10_deepcompression.npz", f"{WEIGHTS_OPTIONS['squeezenet'].source} are"
    )
    network = load_feature_network("squeezenet", weights)
    return FeatureExtractor(network, batch_devices(1), batch_size=8, outputs=("logits",))


@functools.cache
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(records.shared_file("golden/squeezenet.npz", "pictures of flowers and their features are")))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureNetwork, dict[str, np.ndarray]]:
    """The network with seeded weights, and these by layer."""
    weights = golden.seeded_weights(squeezenet_shapes(), 0)
    path = tmp_path_factory.mktemp("squeezenet") / "seeded.npz"
    np.savez(path, **weights)  # pyright: ignore[reportArgumentType] - names are no keywords
    kinds = {"w": "weight", "b": "bias"}
    by_layer = {f"{name[:-2]}.{kinds[name[-1]]}": array for name, array in weights.items()}
    return load_feature_network("squeezenet", path), by_layer


def plain_features(image: np.ndarray, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SqueezeNet 1.0 of an RGB image [227, 227, 3], by its description."""
    x = (image[..., ::-1] - np.array([104.0, 117.0, 123.0])).transpose(2, 0, 1)
    x = plain_convolution(x, weights, "conv1", 2, 0)
    for number in range(2, 10):
        if number in (2, 5, 9):
            x = plain_pool(x, hangs_over=True)
        x = plain_convolution(x, weights, f"fire{number}/conv1x1_1", 1, 0)
        parts = [plain_convolution(x, weights, f"fire{number}/conv{side}x{side}_2", 1, side // 2) for side in (1, 3)]
        x = np.concatenate(parts)
    return {"fire9": x.mean((1, 2)), "logits": plain_convolution(x, weights, "conv_final", 1, 1).mean((1, 2))}


def test_features_equal_a_plain_computation(seeded: tuple, x64: None) -> None:
    network, weights = seeded
    image = np.random.default_rng(0).integers(0, 256, (227, 227, 3)).astype(np.float64)
    ours = jax.jit(network.compute)(jax.tree.map(np.float64, network.params), image[None])
    for name, theirs in plain_features(image, weights).items():
        assert golden.relative_l2(ours[name][0], theirs) < 1e-12


def test_picture_is_resized_to_the_recorded_input() -> None:
    resized = extractor().network.prepare(recorded()["images"][:1]).astype(np.float32)
    inputs = (resized[..., ::-1] - np.array([104, 117, 123], np.float32)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(inputs, recorded()["input0"])


def test_features_equal_the_recorded_ones() -> None:
    (outputs,) = extractor().stream([recorded()["images"]])
    assert golden.relative_l2(outputs["fire9"], recorded()["fire9_mean"]) < 1e-5
    assert golden.relative_l2(outputs["logits"], recorded()["logits_mean"]) < 1e-5


def test_distance_of_two_sets_of_flowers_equals_a_plain_computation() -> None:
    with zipfile.ZipFile(records.shared_file("data/flowers-ccby-64.zip", "photographs of flowers are")) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))[: 2 * NUM_FLOWERS]
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    batches = [images[start : start + 8] for start in range(0, len(images), 8)]
    features = collect(extractor(), batches, len(images), keep=("fire9",))["fire9"].astype(np.float64)
    first, second = features[:NUM_FLOWERS], features[NUM_FLOWERS:]
    ours = frechet_distance(FeatureStats.of(first), FeatureStats.of(second))
    centred = [(half - half.mean(axis=0)) / np.sqrt(len(half) - 1) for half in (first, second)]
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    np.testing.assert_allclose(ours, means + sum(np.sum(part**2) for part in centred) - 2 * root, rtol=1e-8)


def test_grey_pictures_become_colour_ones(seeded: tuple) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    prepared = seeded[0].prepare(grey)
    assert prepared.shape == (1, 227, 227, 3)
    np.testing.assert_array_equal(prepared[..., 0], prepared[..., 2])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in squeezenet_shapes().items()}
    arrays["fire2/conv3x3_2/w"] = np.zeros((64, 16, 1, 1), np.float32)
    np.savez(tmp_path / "wrong.npz", **arrays)  # pyright: ignore[reportArgumentType] - names are no keywords
    with pytest.raises(UserError, match="'fire2/conv3x3_2/w' has the shape"):
        load_squeezenet(tmp_path / "wrong.npz")
