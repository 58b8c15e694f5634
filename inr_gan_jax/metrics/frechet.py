"""Frechet distance between two sets of features, each modelled as a Gaussian."""

import numpy as np

from inr_gan_jax.metrics.feature_stats import FeatureStats


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
