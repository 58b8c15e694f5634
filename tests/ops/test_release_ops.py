"""Operations of the release networks against oracles written from their definitions."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inr_gan_jax.losses import path_length_penalty, path_lengths
from inr_gan_jax.models.layers import append_minibatch_stddev
from inr_gan_jax.ops.fourier_features import logarithmic_basis
from inr_gan_jax.ops.modulation import demodulation, modulate_factors
from inr_gan_jax.ops.resample import bilinear_upsample, fir_upsample
from inr_gan_jax.ops.table_lookup import TableRule, axis_cells, read_table
from tests.closeness import assert_close

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def test_bilinear_upsampling_interpolates_between_aligned_corners() -> None:
    image = RANDOM.standard_normal((5, 5, 2))
    positions = np.arange(10) * 4 / 9
    rows = np.stack([np.interp(positions, np.arange(5), image[:, j, k]) for j in range(5) for k in range(2)], 1)
    rows = rows.reshape(10, 5, 2)
    expected = np.stack([np.interp(positions, np.arange(5), rows[i, :, k]) for i in range(10) for k in range(2)])
    np.testing.assert_allclose(bilinear_upsample(jnp.asarray(image)), expected.reshape(10, 2, 10).swapaxes(1, 2))


def test_fir_upsampling_is_zero_insertion_and_the_binomial_filter() -> None:
    image = RANDOM.standard_normal((3, 4))
    stuffed = np.zeros((6, 8))
    stuffed[::2, ::2] = image
    padded = np.pad(stuffed, ((2, 1), (2, 1)))
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    expected = [[np.sum(padded[i : i + 4, j : j + 4] * taps) for j in range(8)] for i in range(6)]
    assert_close(fir_upsample(jnp.asarray(image)[..., None])[..., 0], expected)


def test_demodulated_weights_have_norm_one() -> None:
    kernel, styles = RANDOM.standard_normal((3, 3, 4, 5)), RANDOM.standard_normal(4)
    weights = kernel * styles[:, None]
    factors = demodulation(jnp.asarray(kernel), jnp.asarray(styles))
    np.testing.assert_allclose(np.sqrt(np.sum((weights * np.asarray(factors)) ** 2, axis=(0, 1, 2))), 1, rtol=1e-8)


@pytest.mark.parametrize("activation", ["demod", "sigmoid", "tanh"])
def test_factors_of_zero_leave_the_weight(activation: Any) -> None:
    kernel = RANDOM.standard_normal((4, 5))
    weight = modulate_factors(jnp.asarray(kernel), jnp.zeros((5, 2)), jnp.zeros((2, 4)), activation)
    expected = kernel / np.linalg.norm(kernel, axis=0) if activation == "demod" else kernel
    np.testing.assert_allclose(weight, expected, rtol=1e-7)


def test_unknown_activation_of_factors_is_refused() -> None:
    activation: Any = "relu"
    with pytest.raises(ValueError, match="activation 'relu'"):
        modulate_factors(jnp.ones((4, 5)), jnp.zeros((5, 2)), jnp.zeros((2, 4)), activation)


def test_logarithmic_basis_doubles_in_each_direction() -> None:
    basis = logarithmic_basis(8, use_diagonals=True).reshape(4, 3, 2)
    np.testing.assert_allclose(basis[:, 1:], 2 * basis[:, :-1])
    np.testing.assert_allclose(basis[:, 0] / np.pi, [[0, 0.5], [0.5, 0], [-0.25, 0.25], [0.25, 0.25]])
    assert logarithmic_basis(128, use_diagonals=False).shape == (14, 2)


@settings(deadline=None, max_examples=50)
@given(st.integers(-20, 20), st.floats(0, 0.99))
def test_tables_are_mirrored_clamped_or_repeated_beyond_the_border(cell: int, fraction: float) -> None:
    def entry(beyond: Any) -> int:
        return int(axis_cells(np.array([(cell + fraction) / 5]), 5, TableRule(beyond=beyond)).lower[0])

    assert entry("clamp") == min(max(cell, 0), 4)
    assert entry("wrap") == cell % 5
    assert entry("reflect") == [*range(5), *reversed(range(5))][cell % 10]


def test_bilinear_tables_are_linear_between_grid_points() -> None:
    table = jnp.arange(4.0)[:, None] * 10 + jnp.arange(4.0)[None, :]
    cells = axis_cells(np.array([0.125, 0.25, 0.5625]), 4, TableRule("bilinear"))
    np.testing.assert_allclose(read_table(table, cells, cells)[0], [5.5, 6, 7.25])


def test_unknown_table_rule_is_refused() -> None:
    beyond: Any = "mirror"
    with pytest.raises(ValueError, match="table rule beyond is 'mirror', expected one of reflect, clamp, wrap"):
        TableRule(beyond=beyond)


def test_minibatch_stddev_of_several_channels_splits_the_features() -> None:
    x = RANDOM.standard_normal((4, 2, 2, 6))
    y = np.asarray(append_minibatch_stddev(jnp.asarray(x), 2, 3))
    assert y.shape == (4, 2, 2, 9)
    pair = np.stack([x[1], x[3]])[..., 2:4]
    np.testing.assert_allclose(y[1, 0, 0, 7], np.sqrt(pair.var(axis=0) + 1e-8).mean())


def test_path_length_of_a_linear_generator_is_its_row_norm() -> None:
    ws, noise = jnp.ones((2, 3, 4)), jnp.asarray(RANDOM.standard_normal((2, 5, 5, 1)))
    kernel = jnp.asarray(RANDOM.standard_normal((4, 25)))

    def synthesise(ws: jax.Array) -> jax.Array:
        return (ws.sum(axis=1) @ kernel).reshape(2, 5, 5, 1)

    expected = jnp.linalg.norm(noise.reshape(2, 25) @ kernel.T, axis=1) / 5
    np.testing.assert_allclose(path_lengths(synthesise, ws, noise), expected, rtol=1e-12)


def test_path_length_has_a_finite_gradient_where_nothing_moves() -> None:
    def penalty(scale: jax.Array) -> jax.Array:
        lengths = path_lengths(lambda ws: scale * ws.reshape(2, 2, 2, 1), jnp.ones((2, 2, 2)), jnp.ones((2, 2, 2, 1)))
        return path_length_penalty(lengths, jnp.asarray(1.0))[0]

    assert jnp.isfinite(jax.grad(penalty)(jnp.asarray(0.0)))


def test_path_length_penalty_vanishes_at_its_mean() -> None:
    penalty, mean = path_length_penalty(jnp.full(3, 2.0), jnp.asarray(2.0))
    assert (float(penalty), float(mean)) == (0.0, 2.0)
