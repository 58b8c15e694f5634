"""Precision and recall against recorded values of exact neighbours, and against plain loops."""

import numpy as np
import pytest

from inr_gan_jax.metrics.precision_recall import PrecisionRecall, neighbour_radii, precision_recall, squared_distances
from tests.golden import records


@pytest.mark.parametrize("num_neighbours", [3, 5])
def test_shares_equal_the_recorded_ones(num_neighbours: int) -> None:
    recorded = records.load("metrics")
    shares = precision_recall(recorded["gen"], recorded["real"], num_neighbours, tile=333)
    counts = recorded[f"pr.exact_k{num_neighbours}.counts"]
    assert (round(shares.precision * 2000), round(shares.recall * 1500)) == tuple(counts)


def test_radii_equal_the_recorded_ones() -> None:
    recorded = records.load("metrics")
    for name, key in (("real", "pr.radius_real_k3"), ("gen", "pr.radius_gen_k3")):
        records.assert_matches(neighbour_radii(recorded[name], 3), recorded[key], 1e-10)


@pytest.mark.parametrize("tile", [2, 5, 64])
def test_tiles_equal_plain_loops(tile: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 3)), rng.normal(0.7, 1, size=(17, 3))

    def radii(points: np.ndarray) -> np.ndarray:
        # The nearest is the point itself.
        return np.array([np.sort(np.linalg.norm(points - point, axis=1))[2] for point in points])

    def share(points: np.ndarray, manifold: np.ndarray) -> float:
        size = radii(manifold)
        return float(np.mean([(np.linalg.norm(manifold - point, axis=1) <= size).any() for point in points]))

    shares = precision_recall(x, y, num_neighbours=2, tile=tile)
    np.testing.assert_allclose(neighbour_radii(x, 2, tile), radii(x), rtol=1e-10)
    assert (shares.precision, shares.recall) == (share(x, y), share(y, x))


def test_squared_distances_far_from_the_origin_are_not_negative() -> None:
    points = np.random.default_rng(0).normal(1e4, 1, size=(50, 8))
    assert (squared_distances(points, points) >= 0).all()


def test_a_set_lies_within_itself() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert precision_recall(points, points, num_neighbours=3, tile=6) == PrecisionRecall(1.0, 1.0)


def test_too_few_vectors_for_the_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="3 neighbours of 3 vectors"):
        neighbour_radii(np.zeros((3, 2)), 3)
