"""Kernel distance: squared maximum mean discrepancy of features, unbiased, in float64 and in tiles."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

# A tile of kernel values and its two sets of float64 features stay below 100 MB.
TILE = 1024

# From features [n, features] and [m, features], float64, to values [n, m].
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def polynomial_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(x . y / features + 1)^3.

    Source: arXiv 1801.01401 §4.
    """
    base = first @ second.T
    base /= first.shape[1]
    base += 1
    # Products, because NumPy's power is ten times slower.
    cube = np.square(base)
    cube *= base
    return cube


def kernel_distance(
    first: np.ndarray, second: np.ndarray, kernel: Kernel = polynomial_kernel, tile: int = TILE
) -> float:
    """Computes the unbiased squared discrepancy of all vectors of two sets.

    sum_{i != j} k(x_i, x_j) / (m (m - 1)) + the same of y - 2 mean k(x_i, y_j); pairs of the last term are all counted.

    Args:
        first: [m, features]; cast to float64 a tile at a time.
        second: [n, features].
        kernel: symmetric.
        tile: vectors of each set per tile; memory grows with its square.

    Returns:
        Distance, around 0 for equal distributions and below it half of the time. Not multiplied by 1000.

    Raises:
        ValueError: for fewer than two vectors in a set, or another number of features.

    Source: arXiv 1801.01401 §4.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"features have shapes {first.shape} and {second.shape}, expected two sets of at least 2")
    cross = sum(kernel(x, y).sum() for x in _tiles(first, tile) for y in _tiles(second, tile))
    within = _mean_of_pairs(first, kernel, tile) + _mean_of_pairs(second, kernel, tile)
    return float(within - 2 * cross / (len(first) * len(second)))


@dataclasses.dataclass(frozen=True)
class SubsetDistance:
    """Kernel distances of random subsets.

    Attributes:
        mean: over the subsets.
        std: over the subsets, the population's.
        subset_size: vectors of each set in a subset, as many as there were.
    """

    mean: float
    std: float
    subset_size: int


def subset_kernel_distance(
    generated: np.ndarray,
    real: np.ndarray,
    rng: np.random.RandomState,
    num_subsets: int = 100,
    subset_size: int = 1000,
    kernel: Kernel = polynomial_kernel,
) -> SubsetDistance:
    """Computes the distance of random subsets of both sets, without replacement within a subset.

    Args:
        generated: [m, features].
        real: [n, features].
        rng: samples the subset of `generated` first, then that of `real`; the legacy generator, because the reference
            implementations use it.
        num_subsets: whose mean is the distance.
        subset_size: vectors of each set in a subset, at most as many as there are.
        kernel: symmetric.

    Source: arXiv 1801.01401 §4; the subsets are those of torch-fidelity, and of StyleGAN when its global generator is
        seeded alike.
    """
    size = min(subset_size, len(generated), len(real))
    distances = []
    for _ in range(num_subsets):
        one = generated[rng.choice(len(generated), size, replace=False)]
        other = real[rng.choice(len(real), size, replace=False)]
        distances.append(kernel_distance(one, other, kernel, tile=size))
    return SubsetDistance(float(np.mean(distances)), float(np.std(distances)), size)


def _tiles(features: np.ndarray, tile: int) -> Iterator[np.ndarray]:
    for start in range(0, len(features), tile):
        yield np.asarray(features[start : start + tile], np.float64)


def _mean_of_pairs(features: np.ndarray, kernel: Kernel, tile: int) -> float:
    """Mean over all pairs of different vectors; each pair of tiles is visited once."""
    total = 0.0
    for number, x in enumerate(_tiles(features, tile)):
        own = kernel(x, x)
        total += own.sum() - np.trace(own)
        for y in _tiles(features[(number + 1) * tile :], tile):
            total += 2 * kernel(x, y).sum()
    return total / (len(features) * (len(features) - 1))
