"""Frechet distance between sets of features, each modelled as a Gaussian; moments and distance in float64."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class FeatureStats:
    """First two moments of a set of feature vectors.

    Attributes:
        mean: [features], float64.
        covariance: [features, features], float64.
        count: vectors in the set.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @classmethod
    def of(cls, features: np.ndarray, ddof: int = 1) -> "FeatureStats":
        """Computes the moments of [count, features].

        Args:
            features: vectors of the set.
            ddof: the covariance is divided by count - ddof: 1 is unbiased (FID's original code, pytorch-fid,
                torch-fidelity, clean-fid), 0 is what StyleGAN's code does.

        Raises:
            ValueError: for fewer than two vectors or for numbers that are not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"features have shape {features.shape}, expected (count >= 2, features)")
        moments = Moments(features.shape[1])
        moments.add(features)
        return moments.stats(ddof)


class Moments:
    """Accumulates the moments of features batch by batch, in float64.

    Sums are of differences from the mean of the first batch: with plain sums, the covariance of features that are
    far from 0 would be the small difference of large numbers.

    Args:
        num_features: entries of a vector.
    """

    def __init__(self, num_features: int) -> None:
        self._centre: np.ndarray | None = None
        self._sum = np.zeros(num_features)
        self._products = np.zeros((num_features, num_features))
        self.count = 0

    def add(self, features: np.ndarray) -> None:
        """Adds vectors [count, features].

        Raises:
            ValueError: for another width or for numbers that are not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self._sum):
            raise ValueError(f"features have shape {features.shape}, expected (count, {len(self._sum)})")
        if not np.isfinite(features).all():
            raise ValueError("features hold numbers that are not finite, expected finite ones")
        if not len(features):
            return
        if self._centre is None:
            self._centre = features.mean(axis=0)
        centred = features - self._centre
        self._sum += centred.sum(axis=0)
        self._products += centred.T @ centred
        self.count += len(features)

    def stats(self, ddof: int = 1) -> FeatureStats:
        """The moments so far, with the covariance divided by count - ddof.

        Raises:
            ValueError: for fewer than two vectors.
        """
        if self.count < 2 or self._centre is None:
            raise ValueError(f"{self.count} feature vectors were given, expected at least 2")
        shift = self._sum / self.count
        scatter = self._products - self.count * np.outer(shift, shift)
        return FeatureStats(self._centre + shift, scatter / (self.count - ddof), self.count)


def frechet_distance(first: FeatureStats, second: FeatureStats) -> float:
    """Computes |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).

    With C = L L^T for both, the trace of the root is the sum of the singular values of L1^T L2, which are the roots of
    the eigenvalues of the symmetric L1^T C2 L1: real, non-negative, without the root of a singular matrix.

    Covariances of fewer vectors than features are rank-deficient. Their eigenvalues below features * 2.2e-16 times the
    largest are rounding noise and count as 0: the root of noise of 1e-17 is 3e-9, a thousand of which would show.

    Args:
        first: moments of one set.
        second: moments of the other, of the same number of features.

    Returns:
        Distance in squared units of the features; 0 for equal moments, up to rounding of either sign.

    Source: Dowson and Landau 1982; arXiv 1706.08500 for its use on generated images.
    """
    product = covariance_factor(first.covariance).T @ covariance_factor(second.covariance)
    trace_of_root = np.linalg.svd(product, compute_uv=False).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(np.sum(np.square(first.mean - second.mean)) + traces - 2 * trace_of_root)


def covariance_factor(covariance: np.ndarray) -> np.ndarray:
    """L [features, rank] with L L^T = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    is_signal = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, is_signal] * np.sqrt(values[is_signal])
