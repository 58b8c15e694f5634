"""Resampling, Fourier features, modulation and picture grids against oracles written from the mathematics."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.ops import resample
from inr_gan_jax.ops.fourier_features import fixed_basis, fourier_features
from inr_gan_jax.ops.image_grid import image_grid, magnify, to_uint8, with_border
from inr_gan_jax.ops.modulation import modulate_product
from inr_gan_jax.ops.resample import fir_filter, gather_features, repeat_cells
from inr_gan_jax.ops.viewport import BlockGrid, Viewport, block_grids
from tests.closeness import assert_close
from tests.marks import slow

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize(("padding", "stride"), [((2, 2), 1), ((1, 1), 2)])
def test_fir_filter_equals_direct_sum(padding: tuple, stride: int) -> None:
    images = np.random.default_rng(0).normal(size=(2, 6, 8, 3))
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    padded = np.pad(images, ((0, 0), padding, padding, (0, 0)))
    height, width = padded.shape[1] - 3, padded.shape[2] - 3
    direct = np.zeros((2, height, width, 3))
    for row in range(4):
        for column in range(4):
            direct += kernel[row, column] * padded[:, row : row + height, column : column + width]
    ours = fir_filter(jnp.asarray(images), padding, stride)
    assert_close(ours, direct[:, ::stride, ::stride])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("padding", "stride"),
    [((2, 2), 1), *(pytest.param(*case, marks=slow) for case in (((1, 1), 1), ((2, 1), 1), ((1, 1), 2))), ((2, 2), 2)],
)
def test_gradients_of_fir_filter_are_those_of_the_sum_of_taps(padding: tuple[int, int], stride: int) -> None:
    images = jax.random.normal(jax.random.key(0), (2, 6, 8, 3), jnp.float64)

    def penalty(filtered: Callable[..., jax.Array]) -> jax.Array:
        gradient = jax.grad(lambda images: jnp.sum(jnp.sin(filtered(images, padding, stride))))
        return jax.grad(lambda images: jnp.sum(jnp.cos(gradient(images))))(images)

    assert_close(penalty(fir_filter), penalty(resample._sum_of_taps))


def test_fir_filter_keeps_a_constant_inside() -> None:
    filtered = fir_filter(jnp.ones((1, 8, 8, 1)), (2, 2))
    np.testing.assert_allclose(filtered[0, 2:-2, 2:-2, 0], 1)


def test_repeat_equals_nearest_lookup() -> None:
    features = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 2)))
    grid = block_grids(Viewport(8, 8), [(4, 4), (8, 8)])[1]
    looked_up = gather_features(features, grid.replace(repeats=None))
    np.testing.assert_array_equal(repeat_cells(features, (2, 2)), looked_up)
    np.testing.assert_array_equal(gather_features(features, grid), looked_up)


def test_fourier_features_of_many_points_are_those_of_few(x64: None) -> None:
    rng = np.random.default_rng(0)
    basis, x, y = rng.normal(0, 100, (5, 2)), rng.uniform(-1, 1, 64), rng.uniform(-1, 1, 48)
    phases = x[None, :, None] * basis[:, 0] + y[:, None, None] * basis[:, 1]
    expected = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    for rows in (48, 4):  # of waves for each axis, and for each point
        ours = fourier_features(jnp.asarray(basis), jnp.asarray(x), jnp.asarray(y[:rows]))
        assert_close(ours, expected[:rows])


def test_fourier_features_are_all_sines_then_all_cosines() -> None:
    basis = np.array([[1.0, 2.0], [-3.0, 0.5]])
    x, y = np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.7])
    ours = fourier_features(jnp.asarray(basis), jnp.asarray(x), jnp.asarray(y))
    for row in range(2):
        for column in range(3):
            phases = basis @ [x[column], y[row]]
            assert_close(ours[row, column], [*np.sin(phases), *np.cos(phases)])


def test_fixed_basis_has_octaves_along_axes_and_diagonals() -> None:
    basis = fixed_basis(8, max_num_features=100)
    assert basis.shape == (16, 2)
    octaves = np.pi / 2 * 2.0 ** np.arange(4)
    np.testing.assert_allclose(basis[:4], np.stack([np.zeros(4), octaves], axis=1))
    np.testing.assert_allclose(basis[12:], np.stack([octaves / 2, octaves / 2], axis=1))


def test_fixed_basis_drops_diagonals_then_high_frequencies() -> None:
    assert fixed_basis(8, 8, use_diagonals=False).shape == (8, 2)
    np.testing.assert_allclose(
        fixed_basis(8, 4, use_diagonals=False), fixed_basis(8, 8, use_diagonals=False)[[0, 1, 4, 5]]
    )
    assert fixed_basis(8, 9, use_diagonals=True).shape == (8, 2)


def test_modulation_is_identity_at_zero_and_bounded_by_two() -> None:
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
    zeros = modulate_product(kernel, jnp.zeros((5, 2)), jnp.zeros((2, 3)))
    np.testing.assert_allclose(zeros, kernel)
    large = modulate_product(kernel, jnp.full((5, 2), 30.0), jnp.full((2, 3), 30.0))
    np.testing.assert_allclose(large, 2 * kernel)


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_modulation_of_any_rank_equals_the_formula(rank: int) -> None:
    rng = np.random.default_rng(rank)
    kernel, left, right = rng.normal(size=(3, 5)), rng.normal(size=(5, rank)), rng.normal(size=(rank, 3))
    expected = kernel * (2 / (1 + np.exp(-(left @ right)))).T
    assert_close(modulate_product(*map(jnp.asarray, (kernel, left, right))), expected)


def test_tanh_is_the_sigmoid_of_twice_the_product() -> None:
    rng = np.random.default_rng(0)
    kernel, left, right = (jnp.asarray(rng.normal(size=size)) for size in ((3, 5), (5, 2), (2, 3)))
    doubled = modulate_product(kernel, 2 * left, right, "sigmoid")
    assert_close(modulate_product(kernel, left, right, "tanh"), doubled)


def test_demodulated_product_has_the_norm_asked_for() -> None:
    rng = np.random.default_rng(1)
    kernel, left, right = rng.normal(size=(3, 5)), rng.normal(size=(5, 2)), rng.normal(size=(2, 3))
    weight = np.asarray(modulate_product(*map(jnp.asarray, (kernel, left, right)), "demod", norm=1.5))
    raw = kernel * (1 + left @ right).T
    np.testing.assert_allclose(weight, 1.5 * raw / np.linalg.norm(raw, axis=0), rtol=1e-7)


def test_unknown_activation_of_a_product_is_refused() -> None:
    with pytest.raises(ValueError, match="the activation 'relu', expected 'demod', 'sigmoid' or 'tanh'"):
        modulate_product(jnp.ones((3, 5)), jnp.ones((5, 2)), jnp.ones((2, 3)), "relu")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("antialias", [False, True])
def test_bilinear_grids_give_linear_functions_back(antialias: bool) -> None:
    view = Viewport(9, 14, top=-0.37, left=0.21, height_extent=1.3, width_extent=2.9, rule="all", antialias=antialias)
    coarse, fine = block_grids(view, [(4, 4), (8, 8)], upsampling="bilinear")

    def sampled(grid: BlockGrid) -> np.ndarray:
        return (2.0 - 3 * grid.x[None, :] + 5 * grid.y[:, None])[..., None]

    assert_close(gather_features(jnp.asarray(sampled(coarse)), fine), sampled(fine))


def test_modulation_refuses_factors_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"left has shape \(4, 2\), expected \(5, any\)"):
        modulate_product(jnp.ones((3, 5)), jnp.ones((4, 2)), jnp.ones((2, 3)))


def test_to_uint8_covers_the_range() -> None:
    np.testing.assert_array_equal(to_uint8(np.array([-2.0, -1.0, 0.0, 1.0, 9.0])), [0, 0, 128, 255, 255])


def test_tile_places_pictures_row_by_row() -> None:
    pictures = [np.full((2, 3, 1), value, np.uint8) for value in (1, 2, 3)]
    grid = image_grid(pictures, columns=2, gap=1, background=9)
    assert grid.shape == (7, 9, 1)
    assert (grid[1, 1, 0], grid[1, 5, 0], grid[4, 1, 0], grid[4, 5, 0]) == (1, 2, 3, 9)


def test_magnify_draws_squares() -> None:
    np.testing.assert_array_equal(magnify(np.arange(2).reshape(1, 2, 1), 2)[..., 0], [[0, 0, 1, 1]] * 2)


def test_border_frames_the_box_only() -> None:
    framed = with_border(np.zeros((6, 6, 1), np.uint8), (1, 1, 4, 4), (255, 0, 0))
    assert framed.shape == (6, 6, 3)
    assert (framed[..., 0] == 255).sum() == 12
    assert framed[2, 2].sum() == 0
