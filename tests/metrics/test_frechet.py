"""Frechet distance in closed form, and the pixel metric of the demo."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inr_gan_jax.metrics.feature_stats import FeatureStats
from inr_gan_jax.metrics.frechet import frechet_distance
from inr_gan_jax.metrics.pixel_fd import PixelFD


def stats(mean: np.ndarray, covariance: np.ndarray) -> FeatureStats:
    return FeatureStats(np.asarray(mean, np.float64), np.asarray(covariance, np.float64), 100)


def test_diagonal_gaussians_have_the_closed_form() -> None:
    first, second = stats([1, 2], np.diag([4, 9])), stats([3, 2], np.diag([1, 16]))
    assert frechet_distance(first, second) == pytest.approx(4 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_commuting_covariances_have_the_closed_form() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.arange(1, 6.0), np.arange(5, 0, -1.0)
    first, second = stats(np.zeros(5), rotation * a @ rotation.T), stats(np.zeros(5), rotation * b @ rotation.T)
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)


def test_rank_deficient_covariances_are_defined() -> None:
    flat = stats([0, 0], [[1, 0], [0, 0]])
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(flat, stats([0, 0], [[0, 0], [0, 1]])) == pytest.approx(2)


def test_moments_are_unbiased_and_refuse_nonsense() -> None:
    features = np.random.default_rng(0).normal(size=(50, 3))
    ours = FeatureStats.of(features)
    np.testing.assert_allclose(ours.covariance, np.cov(features.T))
    with pytest.raises(ValueError, match="count >= 2"):
        FeatureStats.of(features[:1])
    with pytest.raises(ValueError, match="not finite"):
        FeatureStats.of(np.full((3, 2), np.nan))


def digit_images() -> np.ndarray:
    levels = np.round(load_digits().images * (255 / 16))  # pyright: ignore[reportAttributeAccessIssue] - a Bunch
    return levels[..., None] / 127.5 - 1


def test_pixel_fd_of_the_real_set_is_zero_and_of_noise_is_large() -> None:
    images = digit_images()
    metric = PixelFD(images, num_samples=len(images))
    assert metric(lambda count: images[:count]) == pytest.approx(0, abs=1e-7)
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape)
    assert metric(lambda count: noise[:count]) > 5


def test_pixel_fd_has_the_floors_that_the_demo_is_judged_by() -> None:
    floors = PixelFD(digit_images(), num_samples=10_000).floors()
    assert floors.resampled == pytest.approx(0.003, abs=0.001)
    assert floors.halves == pytest.approx(0.073, abs=0.01)
