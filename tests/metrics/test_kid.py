"""Kernel distances against recorded values of torch-fidelity and StyleGAN, and against plain loops."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from inr_gan_jax.metrics.kid import kernel_distance, polynomial_kernel, subset_kernel_distance
from inr_gan_jax.metrics.precision_recall import squared_distances
from tests.golden import records

FEW = {"num_subsets": 10, "subset_size": 200}


def legacy(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed)


def recorded_features() -> tuple[np.ndarray, np.ndarray]:
    recorded = records.load("metrics")
    return recorded["gen"], recorded["real"]


def radial_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.exp(-squared_distances(first, second) / (2 * 9))


@pytest.mark.parametrize(("count", "tile"), [(2000, 1024), (1500, 777)])
def test_distance_of_all_vectors_equals_the_recorded_one(count: int, tile: int) -> None:
    generated, real = recorded_features()
    ours = kernel_distance(generated[:count], real, tile=tile)
    np.testing.assert_allclose(ours, records.load("metrics")[f"kid.full_unbiased_{count}_1500"], rtol=1e-12)


def test_subsets_equal_those_of_torch_fidelity() -> None:
    ours = subset_kernel_distance(*recorded_features(), legacy(2020), **FEW)
    recorded = records.load("metrics")
    np.testing.assert_allclose(ours.mean, recorded["kid.torchfidelity_10x200.mean"], rtol=1e-12)
    np.testing.assert_allclose(ours.std, recorded["kid.torchfidelity_10x200.std"], rtol=1e-12)


def test_other_kernels_equal_those_of_torch_fidelity() -> None:
    ours = subset_kernel_distance(*recorded_features(), legacy(2020), **FEW, kernel=radial_kernel)
    np.testing.assert_allclose(ours.mean, records.load("metrics")["kid.torchfidelity_rbf3_10x200.mean"], rtol=1e-10)


def test_default_subsets_equal_those_of_stylegan() -> None:
    # Threads that wait for each other would take most of the time.
    with threadpool_limits(1):
        ours = subset_kernel_distance(*recorded_features(), legacy(7))
    np.testing.assert_allclose(ours.mean, records.load("metrics")["kid.stylegan3_seed7_f64"], rtol=1e-12)


@pytest.mark.parametrize("tile", [3, 7, 100])
def test_tiles_equal_plain_loops(tile: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(11, 4)), rng.normal(0.5, 1, size=(17, 4))
    within_x = [polynomial_kernel(x[i : i + 1], x[j : j + 1])[0, 0] for i in range(11) for j in range(11) if i != j]
    within_y = [polynomial_kernel(y[i : i + 1], y[j : j + 1])[0, 0] for i in range(17) for j in range(17) if i != j]
    cross = [(a @ b / 4 + 1) ** 3 for a in x for b in y]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * np.mean(cross)
    np.testing.assert_allclose(kernel_distance(x, y, tile=tile), expected, rtol=1e-12)


def test_distance_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [kernel_distance(rng.normal(size=(20, 3)), rng.normal(size=(30, 3))) for _ in range(400)]
    # Five standard errors: a false alarm in two million seeds.
    assert abs(np.mean(values)) < 5 * np.std(values) / np.sqrt(len(values))


def test_sets_of_other_widths_or_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="two sets of at least 2"):
        kernel_distance(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="two sets of at least 2"):
        kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))
