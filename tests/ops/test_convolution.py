"""The convolution and its derivatives against those of XLA."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.array_types import Array
from inr_gan_jax.ops import convolution
from inr_gan_jax.ops.convolution import convolve
from tests.closeness import assert_close
from tests.marks import mostly_slow

CASES = [
    (9, 3, 2, 0),
    (10, 3, 2, 0),
    (9, 3, 2, 1),
    (7, 1, 2, 0),
    (6, 3, 1, 1),
    (6, 3, 1, 0),
    (5, 1, 1, 0),
    (6, 5, 1, 3),
]


def _plain(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    numbers, padded = ("NHWC", "HWIO", "NHWC"), [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padded, dimension_numbers=numbers)


def _values(size: int, side: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, size, size + 1, 3))), jnp.asarray(rng.normal(size=(side, side, 3, 4)))


def _penalty(convolve: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The squared gradient by the picture, as R1 has it."""
    return lambda x, kernel: jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.tanh(convolve(x, kernel))))(x)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", mostly_slow(CASES, fast=(CASES[0], CASES[3], CASES[4])))
def test_convolution_and_two_derivatives_are_those_of_xla(case: tuple[int, int, int, int]) -> None:
    size, side, stride, padding = case
    x, kernel = _values(size, side)

    def ours(x: Array, kernel: Array) -> Array:
        return convolve(x, kernel, stride, padding)

    def theirs(x: Array, kernel: Array) -> Array:
        return _plain(x, kernel, stride, padding)

    assert_close(ours(x, kernel), theirs(x, kernel))
    for found, expected in zip(
        jax.grad(_penalty(ours), (0, 1))(x, kernel), jax.grad(_penalty(theirs), (0, 1))(x, kernel), strict=True
    ):
        assert_close(found, expected)


@pytest.mark.usefixtures("x64")
def test_large_windows_one_after_the_other_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = _values(6, 3)

    def gradient() -> Array:
        return jax.grad(lambda kernel: jnp.sum(jnp.tanh(convolve(x, kernel, padding=1))))(kernel)

    at_once = gradient()
    monkeypatch.setattr(convolution, "_MANY_NUMBERS", 0)
    assert_close(gradient(), at_once)


def test_cpu_program_has_only_plain_convolutions_within_a_branch() -> None:
    x, kernel = (value.astype(jnp.float32) for value in _values(6, 3))
    gradient = jax.grad(_penalty(lambda x, kernel: convolve(x, kernel, padding=1)), (0, 1))

    def in_a_branch(flag: Array, x: Array, kernel: Array) -> tuple[Array, Array]:
        return jax.lax.cond(flag, gradient, lambda x, kernel: (x, kernel), x, kernel)

    text = jax.jit(in_a_branch).lower(True, x, kernel).as_text(dialect="hlo")
    labels = set(re.findall(r"convolution\(.*dim_labels=([^,\s]+)", text))
    assert labels == {"b01f_01io->b01f"}


def test_other_platforms_get_the_convolution_of_jax() -> None:
    x, kernel = _values(9, 3)
    traced = jax.jit(lambda x, kernel: convolve(x, kernel, stride=2)).trace(x, kernel)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "stablehlo.convolution" in text
    assert "dot_general" not in text
