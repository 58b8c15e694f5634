"""From images to features: the same on any number of devices, and every image once."""

import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor, collect, finite, quantised
from inr_gan_jax.metrics.frechet import FeatureStats, frechet_distance
from inr_gan_jax.metrics.networks.registry import load_feature_network
from inr_gan_jax.metrics.real_images import RealImages
from tests.metrics import golden
from tests.metrics.tiny_network import random_images, tiny_network

COUNT, BATCH = 43, 10


def features_on(num_devices: int, images: np.ndarray) -> np.ndarray:
    extractor = FeatureExtractor(tiny_network(), batch_devices(num_devices), BATCH)
    batches = RealImages.of_array("random", images).batches(BATCH)
    return collect(extractor, batches, len(images), keep=("means",))["means"]


def test_features_and_distance_are_the_same_on_any_number_of_devices() -> None:
    sets = random_images(COUNT), random_images(COUNT, seed=1) // 2
    features = {num: [features_on(num, images) for images in sets] for num in (1, 2, 8)}
    distances = {num: frechet_distance(*map(FeatureStats.of, both)) for num, both in features.items()}
    for num in (2, 8):
        for ours, one in zip(features[num], features[1], strict=True):
            assert golden.relative_l2(ours, one) < 1e-6
        assert distances[num] == pytest.approx(distances[1], rel=1e-8)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_every_image_is_counted_once_and_in_its_place(num_devices: int) -> None:
    images = random_images(COUNT)
    one_by_one = np.concatenate([features_on(1, images[index : index + 1]) for index in (0, 9, 10, 39, 40, 42)])
    assert golden.relative_l2(features_on(num_devices, images)[[0, 9, 10, 39, 40, 42]], one_by_one) < 1e-6
    seen: list[np.ndarray] = []
    extractor = FeatureExtractor(tiny_network(), batch_devices(num_devices), BATCH)
    collect(extractor, RealImages.of_array("random", images).batches(BATCH), COUNT, each=seen.append)
    assert [len(batch) for batch in seen] == [10, 10, 10, 10, 3]


def test_batches_larger_than_the_extractor_are_refused() -> None:
    extractor = FeatureExtractor(tiny_network(), batch_devices(8), BATCH)
    assert extractor.batch_size == 16
    with pytest.raises(ValueError, match="a batch of 17 images"):
        list(extractor.stream([random_images(17)]))


def test_too_few_images_are_noticed() -> None:
    extractor = FeatureExtractor(tiny_network(), batch_devices(1), BATCH)
    with pytest.raises(ValueError, match="7 images came of a set of 8"):
        collect(extractor, [random_images(7)], 8)


def test_images_that_are_not_finite_are_no_black_ones() -> None:
    broken = finite([jnp.full((4, 4, 4, 3), jnp.nan)])
    with pytest.raises(FloatingPointError, match="not finite"):
        next(broken)


def test_images_are_quantised_as_stylegan_does() -> None:
    values = jnp.array([-2, -1, -0.99999, 0, 127 / 127.5, 1, 2, 0.5 / 127.5 - 1e-6, -0.5 / 127.5 + 1e-6])
    np.testing.assert_array_equal(quantised(values), [0, 0, 0, 128, 255, 255, 255, 128, 127])


def test_more_devices_than_there_are_is_one_sentence() -> None:
    with pytest.raises(UserError, match="9 devices were asked for, but 8 cpu devices are found"):
        batch_devices(9)


def test_network_of_one_size_refuses_others() -> None:
    with pytest.raises(UserError, match="'digits' expects images of 8x8 pixels, got 16x16"):
        load_feature_network("digits").prepare(np.zeros((1, 16, 16, 1), np.uint8))


def test_digit_features_are_similarities_to_real_digits() -> None:
    network = load_feature_network("digits")
    landmarks = network.params["landmarks"]
    images = np.rint(landmarks * 255).astype(np.uint8).reshape(-1, 8, 8, 1)
    (outputs,) = FeatureExtractor(network, batch_devices(1), 100).stream([images])
    squares = ((landmarks[:, None] - landmarks[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(outputs["similarities"], np.exp(-squares / 4.5), atol=5e-3)


@pytest.mark.parametrize("name", ["inception", "squeezenet", "vgg16"])
def test_network_without_weights_names_flag_variable_and_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"INR_GAN_{name.upper()}_WEIGHTS", raising=False)
    with pytest.raises(UserError) as caught:
        load_feature_network(name)  # pyright: ignore[reportArgumentType] - a name of the list above
    for part in (f"--{name}_weights", f"INR_GAN_{name.upper()}_WEIGHTS", "http"):
        assert part in str(caught.value)
