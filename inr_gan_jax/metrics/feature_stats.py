"""Mean and covariance of features, in float64."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class FeatureStats:
    """First two moments of a set of feature vectors.

    Attributes:
        mean: [features], float64.
        covariance: [features, features], float64, unbiased (divided by count - 1).
        count: vectors in the set.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @classmethod
    def of(cls, features: np.ndarray) -> "FeatureStats":
        """Computes the moments of [count, features].

        Raises:
            ValueError: for fewer than two vectors or for numbers that are not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"features have shape {features.shape}, expected (count >= 2, features)")
        if not np.isfinite(features).all():
            raise ValueError("features hold numbers that are not finite, expected finite ones")
        return cls(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)), len(features))
