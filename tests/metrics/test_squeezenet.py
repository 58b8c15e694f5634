"""SqueezeNet's features against recorded ones, and the distance that they make."""

import functools
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor, collect
from inr_gan_jax.metrics.feature_networks import load_feature_network
from inr_gan_jax.metrics.feature_stats import FeatureStats
from inr_gan_jax.metrics.frechet import frechet_distance
from inr_gan_jax.metrics.squeezenet import load_squeezenet, squeezenet_shapes
from tests.metrics import golden

# Of each half of the flowers; all 3,480 take minutes (benchmarks/metrics.py).
NUM_FLOWERS = 4


@functools.cache
def extractor() -> FeatureExtractor:
    weights = golden.shared_file("data/squeezenet10_deepcompression.npz")
    network = load_feature_network("squeezenet", weights)
    return FeatureExtractor(network, batch_devices(1), batch_size=8, outputs=("logits",))


@functools.cache
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(golden.shared_file("golden/squeezenet.npz")))


def test_picture_is_resized_to_the_recorded_input() -> None:
    resized = extractor().network.prepare(recorded()["images"][:1]).astype(np.float32)
    inputs = (resized[..., ::-1] - np.array([104, 117, 123], np.float32)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(inputs, recorded()["input0"])


def test_features_equal_the_recorded_ones() -> None:
    (outputs,) = extractor().stream([recorded()["images"]])
    assert golden.relative_l2(outputs["fire9"], recorded()["fire9_mean"]) < 1e-5
    assert golden.relative_l2(outputs["logits"], recorded()["logits_mean"]) < 1e-5


def test_distance_of_two_sets_of_flowers_equals_a_plain_computation() -> None:
    with zipfile.ZipFile(golden.shared_file("data/flowers-ccby-64.zip")) as archive:
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


def test_grey_pictures_become_colour_ones() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    prepared = extractor().network.prepare(grey)
    assert prepared.shape == (1, 227, 227, 3)
    np.testing.assert_array_equal(prepared[..., 0], prepared[..., 2])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in squeezenet_shapes().items()}
    arrays["fire2/conv3x3_2/w"] = np.zeros((64, 16, 1, 1), np.float32)
    np.savez(tmp_path / "wrong.npz", **arrays)  # pyright: ignore[reportArgumentType] - names are no keywords
    with pytest.raises(UserError, match="'fire2/conv3x3_2/w' has the shape"):
        load_squeezenet(tmp_path / "wrong.npz")
