"""Improved precision and recall: how many samples of one set are within the k-nearest-neighbour manifold of the other.

Distances are in float64: float32 has decided single points otherwise, bfloat16 and TF32 many.
"""

import dataclasses

import numpy as np

# A tile of distances and its two sets of float64 features of 4096 entries stay below 200 MB.
TILE = 1024


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Fractions of two sets that are within each other's manifold.

    Attributes:
        precision: of generated vectors within the manifold of the real ones.
        recall: of real vectors within the manifold of the generated ones.
    """

    precision: float
    recall: float


def neighbour_radii(features: np.ndarray, num_neighbours: int, tile: int = TILE) -> np.ndarray:
    """Distance of each vector to its k-th nearest other vector of the set, not counting itself.

    Args:
        features: [count, features].
        num_neighbours: k.
        tile: vectors that meet at once.

    Returns:
        [count], float64, Euclidean.

    Raises:
        ValueError: for as many neighbours as vectors, or more.
    """
    count = len(features)
    if not 1 <= num_neighbours < count:
        raise ValueError(f"{num_neighbours} neighbours of {count} vectors were asked for, expected 1 to {count - 1}")
    # The vector itself is among the nearest, at distance 0.
    nearest = np.full((count, num_neighbours + 1), np.inf)
    for top in range(0, count, tile):
        rows = slice(top, top + tile)
        for left in range(top, count, tile):
            columns = slice(left, left + tile)
            squares = squared_distances(features[rows], features[columns])
            if top != left:
                nearest[columns] = _smallest(nearest[columns], squares.T)
            nearest[rows] = _smallest(nearest[rows], squares)
    return np.sqrt(nearest.max(axis=1))


def precision_recall(
    generated: np.ndarray, real: np.ndarray, num_neighbours: int = 3, tile: int = TILE
) -> PrecisionRecall:
    """Computes both fractions.

    A vector is within the manifold of a set if it is at most as far from one of its vectors as that vector's k-th
    nearest neighbour.

    Args:
        generated: [m, features].
        real: [n, features].
        num_neighbours: k.
        tile: vectors of each set that meet at once; memory grows with its square, and with features times it.

    Raises:
        ValueError: for too few vectors, or another number of features.

    Source: arXiv 1904.06991 §3.
    """
    if generated.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"features have shapes {generated.shape} and {real.shape}, expected the same number of features"
        )
    generated_radii = neighbour_radii(generated, num_neighbours, tile)
    real_radii = neighbour_radii(real, num_neighbours, tile)
    generated_inside, real_inside = np.zeros(len(generated), bool), np.zeros(len(real), bool)
    for top in range(0, len(generated), tile):
        rows = slice(top, top + tile)
        for left in range(0, len(real), tile):
            columns = slice(left, left + tile)
            distances = np.sqrt(squared_distances(generated[rows], real[columns]))
            generated_inside[rows] |= (distances <= real_radii[None, columns]).any(axis=1)
            real_inside[columns] |= (distances <= generated_radii[rows, None]).any(axis=0)
    return PrecisionRecall(float(generated_inside.mean()), float(real_inside.mean()))


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of [m, features] and [n, features]: [m, n], float64, none below 0."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)[None]
    squares -= 2 * (x @ y.T)
    return np.maximum(squares, 0, out=squares)


def _smallest(kept: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The smallest values of both in each row, as many as `kept` has, unordered."""
    count = kept.shape[1]
    if candidates.shape[1] > count:
        candidates = np.partition(candidates, count - 1, axis=1)[:, :count]
    return np.partition(np.concatenate([kept, candidates], axis=1), count - 1, axis=1)[:, :count]
