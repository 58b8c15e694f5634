"""Frechet distance between two sets of features, each taken for a Gaussian."""

import numpy as np

from inr_gan_jax.metrics.feature_stats import FeatureStats


def frechet_distance(first: FeatureStats, second: FeatureStats) -> float:
    """Computes |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is taken from the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: real, non-negative
    and defined for rank-deficient covariances too. Eigenvalues that rounding makes negative count as 0.

    Args:
        first: moments of one set.
        second: moments of the other, of the same number of features.

    Returns:
        Distance, 0 for equal moments; in squared units of the features.

    Source: Dowson and Landau 1982; arXiv 1706.08500 for its use on generated images.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second.covariance @ root)
    trace_of_root = np.sqrt(np.clip(product, 0, None)).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(np.sum(np.square(first.mean - second.mean)) + traces - 2 * trace_of_root)
