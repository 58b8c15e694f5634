"""Frechet distance in closed form and against recorded values, streamed moments, and the pixel metric of the demo."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.frechet import FeatureStats, Moments, frechet_distance
from inr_gan_jax.metrics.pixel_fd import PixelFD, pixel_features
from tests.golden import records

# Of float64: rounding of an eigenvalue near 0, as a share of the largest root.
ROOT_OF_EPSILON = float(np.finfo(np.float64).eps ** 0.5)


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


def recorded_sets(case: str) -> tuple[np.ndarray, np.ndarray]:
    generated, real = (records.load("metrics")[name].astype(np.float64) for name in ("gen", "real"))
    few = slice(0, 50)
    cases = {
        "full": (generated, real),
        "rank50_50": (generated[few], real[few]),
        "rank50_full": (generated[few], real),
        "self": (generated, generated),
    }
    return cases[case]


@pytest.mark.parametrize("case", ["full", "rank50_50", "rank50_full", "self"])
@pytest.mark.parametrize("ddof", [1, 0])
def test_distance_equals_the_recorded_one(case: str, ddof: int) -> None:
    recorded = records.load("metrics")
    ours = frechet_distance(*(FeatureStats.of(features, ddof) for features in recorded_sets(case)))
    # A difference of traces, rounded as these are.
    size = float(np.abs(recorded[f"fid.{case}.terms_ddof{ddof}"]).max())
    assert ours == pytest.approx(float(recorded[f"fid.{case}.nuclear_ddof{ddof}"]), rel=1e-12, abs=1e-13 * size)
    # Other implementations take roots of rounding noise where covariances are rank-deficient.
    references = ("torchfidelity", "pytorchfid") if ddof else ("stylegan3",)
    for name in references:
        tolerance = 1e-6 if case.startswith("rank") else 1e-9
        assert ours == pytest.approx(float(recorded[f"fid.{case}.{name}"]), abs=tolerance)


def test_streamed_moments_equal_those_of_the_whole_set() -> None:
    # Far from 0, where sums of squares lose digits.
    features = np.random.default_rng(0).normal(1000, 1, size=(101, 4))
    moments = Moments(4)
    for start in range(0, 101, 10):
        moments.add(features[start : start + 10])
    moments.add(features[:0])
    for ddof in (0, 1):
        stats = moments.stats(ddof)
        np.testing.assert_allclose(stats.mean, features.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(stats.covariance, np.cov(features.T, ddof=ddof), rtol=1e-11, atol=1e-13)
        assert stats.count == 101


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
    variance = np.var(images / 2, axis=0).sum()
    assert abs(metric([images])[0]) < 64 * ROOT_OF_EPSILON * variance
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape)
    assert metric([noise])[0] > 5


@pytest.mark.parametrize(("num_real", "num_samples"), [(400, 300), (30, 300), (300, 30), (20, 30)])
def test_pixel_fd_is_the_frechet_distance_also_of_few_images(num_real: int, num_samples: int) -> None:
    rng = np.random.default_rng(1)
    # Spectra of pictures fall steeply; one pixel is black in all.
    basis = rng.normal(size=(48, 48)) * np.logspace(0, -3, 48)
    real, drawn = (0.2 * rng.normal(size=(count, 48)) @ basis.T for count in (num_real, num_samples))
    real, drawn = (each.reshape(-1, 4, 4, 3) for each in (real, 1.2 * drawn + 0.1))
    real[:, 0, 0, 0] = -1
    expected = frechet_distance(*(FeatureStats.of(pixel_features(each)) for each in (drawn, real)))
    metric = PixelFD(real, num_samples)
    traces = sum(np.var(each / 2, axis=0).sum() for each in (real, drawn))
    assert abs(metric([drawn[:10], drawn[10:]])[0] - expected) < 48 * ROOT_OF_EPSILON * traces


def test_pixel_fd_factors_the_real_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pictures took minutes: thirty decompositions with vectors before the first step."""
    counts: collections.Counter[str] = collections.Counter()

    def counted(name: str) -> Callable[..., Any]:
        function = getattr(np.linalg, name)
        return lambda *arguments, **options: (counts.update([name]), function(*arguments, **options))[1]

    for name in ("eigh", "svd", "eigvalsh"):
        monkeypatch.setattr(np.linalg, name, counted(name))
    images = np.random.default_rng(0).uniform(-1, 1, (200, 4, 4, 3))
    metric = PixelFD(images, num_samples=100)
    assert metric.floors() is metric.floors()
    metric([images[:100]])
    # One for each of ten floors and of two distances; triangular factors are much cheaper.
    assert counts == {"eigvalsh": 12}


@pytest.mark.parametrize(
    ("shape", "said"), [((10, 40, 40, 3), "4800"), ((3, 4, 4, 1), "at least 4"), ((2**20, 32, 32, 3), "1,048,576")]
)
def test_set_that_pixel_fd_cannot_take_is_told_so(shape: tuple[int, ...], said: str) -> None:
    # No memory of that size is touched.
    images = np.broadcast_to(np.float32(0), shape)
    with pytest.raises(UserError, match=said):
        PixelFD(images, num_samples=100)


def test_pixel_fd_has_the_floors_that_the_demo_is_judged_by() -> None:
    floors = PixelFD(digit_images(), num_samples=10_000).floors()
    assert floors.resampled == pytest.approx(0.003, abs=0.001)
    assert floors.halves == pytest.approx(0.073, abs=0.01)
