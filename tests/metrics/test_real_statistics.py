"""Statistics of real images: computed once, and again when anything that they depend on changes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor
from inr_gan_jax.metrics.frechet import FeatureStats, frechet_distance
from inr_gan_jax.metrics.networks.registry import FeatureNetwork
from inr_gan_jax.metrics.protocols import Protocol, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.real_statistics import RealStatistics
from tests.metrics.tiny_network import random_images, tiny_network
from tests.permissions import permissions, umask

COUNT = 37
FRECHET, KERNEL = parse_protocol("fsd20_full"), parse_protocol("ksd20_full")


class Setting:
    """A set, a network and a cache, and how many images the network has seen."""

    def __init__(self, cache_dir: Path | None, images: np.ndarray, network: FeatureNetwork) -> None:
        self.num_seen = 0
        self.real = RealImages.of_array("random", images)
        original = network.prepare

        def counting(batch: np.ndarray) -> np.ndarray:
            self.num_seen += len(batch)
            return original(batch)

        extractor = FeatureExtractor(network, batch_devices(1), 10)
        object.__setattr__(network, "prepare", counting)
        self.statistics = RealStatistics(self.real, extractor, cache_dir)


def setting(cache_dir: Path | None, images: np.ndarray | None = None, sha256: str = "0" * 64) -> Setting:
    return Setting(cache_dir, random_images(COUNT) if images is None else images, tiny_network(sha256))


def test_reference_holds_the_moments_and_the_floors_of_the_set() -> None:
    statistics = setting(None).statistics
    features = statistics.features(KERNEL)
    reference = setting(None).statistics.frechet_reference(FRECHET)
    expected = FeatureStats.of(features)
    np.testing.assert_allclose(reference.stats.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(reference.stats.covariance, expected.covariance, rtol=1e-10)
    assert reference.stats.count == COUNT
    rng = np.random.default_rng(0)
    drawn = features[rng.integers(0, COUNT, 20)]
    first = rng.permutation(COUNT) < COUNT // 2
    resampled = frechet_distance(FeatureStats.of(drawn), expected)
    halves = frechet_distance(FeatureStats.of(features[first]), FeatureStats.of(features[~first]))
    np.testing.assert_allclose([reference.floor_resampled, reference.floor_halves], [resampled, halves], rtol=1e-9)


@pytest.mark.parametrize("call", ["frechet", "features"])
def test_second_process_reads_what_the_first_computed(tmp_path: Path, call: str) -> None:
    def compute(statistics: RealStatistics) -> np.ndarray:
        if call == "features":
            return statistics.features(KERNEL)
        return statistics.frechet_reference(FRECHET).stats.covariance

    first, second = setting(tmp_path / "cache"), setting(tmp_path / "cache")
    np.testing.assert_array_equal(compute(first.statistics), compute(second.statistics))
    assert (first.num_seen, second.num_seen) == (COUNT, 0)


def changed_pixel(cache: Path) -> tuple[Setting, Protocol]:
    images = random_images(COUNT)
    images[17, 3, 5, 1] ^= 1
    return setting(cache, images), FRECHET


CHANGES: dict[str, Callable[[Path], tuple[Setting, Protocol]]] = {
    "a pixel": changed_pixel,
    "an image less": lambda cache: (setting(cache, random_images(COUNT)[1:]), FRECHET),
    "other weights": lambda cache: (setting(cache, sha256="1" * 64), FRECHET),
    "the divisor": lambda cache: (setting(cache), dataclasses.replace(FRECHET, ddof=0)),
    "the number generated": lambda cache: (setting(cache), dataclasses.replace(FRECHET, num_generated=21)),
    "fewer real images": lambda cache: (setting(cache), dataclasses.replace(FRECHET, max_real=30)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_computes_anew(tmp_path: Path, change: str) -> None:
    setting(tmp_path).statistics.frechet_reference(FRECHET)
    other, protocol = CHANGES[change](tmp_path)
    other.statistics.frechet_reference(protocol)
    assert other.num_seen >= 30


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: b"", lambda data: data[:300] + b"x" + data[301:]]
)
def test_damaged_cache_is_computed_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    expected = setting(tmp_path).statistics.frechet_reference(FRECHET)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = setting(tmp_path)
    np.testing.assert_array_equal(again.statistics.frechet_reference(FRECHET).stats.mean, expected.stats.mean)
    assert again.num_seen == COUNT


def test_one_pass_serves_kernel_and_frechet_distances() -> None:
    used = setting(None)
    used.statistics.features(KERNEL)
    used.statistics.frechet_reference(FRECHET)
    used.statistics.frechet_reference(FRECHET)
    assert used.num_seen == COUNT


def test_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cache of real statistics \S*file cannot be written"):
        setting(tmp_path / "file").statistics.frechet_reference(FRECHET)


def test_cache_gets_the_permissions_of_the_umask(tmp_path: Path) -> None:
    with umask(0o027):
        setting(tmp_path).statistics.frechet_reference(FRECHET)
    (path,) = tmp_path.iterdir()
    assert permissions(path) == 0o640


def test_limited_set_is_drawn_without_replacement() -> None:
    real = RealImages.of_array("random", random_images(COUNT))
    limited = real.limited(30)
    images = np.concatenate(list(limited.batches(7)))
    assert len(np.unique(images.reshape(30, -1), axis=0)) == 30
    assert real.limited(COUNT) is real
    assert limited.fingerprint != real.fingerprint
