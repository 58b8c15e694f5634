"""The ADA controller against its arithmetic."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.augment.controller import AugmentState, init_augment_state, r_t, updated, with_mean_sign

# One update moves p by 32 * 4 / 500000.
RATE = {"target": 0.6, "images_per_update": 128, "kimg": 500}
STEP = 128 / 500_000


# Compiled, because its many small operations take longer one by one.
take_in, measure = jax.jit(with_mean_sign, static_argnums=2), jax.jit(r_t)
update = jax.jit(functools.partial(updated, **RATE))


def seen(*logits: float, p: float = 0.1) -> AugmentState:
    return take_in(init_augment_state(p), np.sign(np.array(logits, np.float32)).mean(), len(logits))


def test_r_t_is_the_mean_sign_over_all_batches() -> None:
    state = take_in(seen(2.0, -0.1, 0.3), np.float32(0.5), 2)
    np.testing.assert_allclose(measure(state), (1 - 1 + 1 + 1 + 0) / 5)


def test_r_t_is_zero_before_any_output() -> None:
    assert r_t(init_augment_state()) == 0


@pytest.mark.parametrize(("logits", "expected"), [((1.0, 1.0), 0.1 + STEP), ((1.0, -1.0), 0.1 - STEP)])
def test_p_moves_towards_the_target(logits: tuple[float, ...], expected: float) -> None:
    np.testing.assert_allclose(update(seen(*logits)).p, expected, rtol=1e-6)


def test_p_stays_on_the_target_and_without_outputs() -> None:
    on_target = updated(seen(1.0, 1.0, 1.0, -1.0), **{**RATE, "target": 0.5})
    assert on_target.p == update(init_augment_state(0.1)).p == jnp.float32(0.1)


def test_p_is_never_negative() -> None:
    assert update(seen(-1.0, p=STEP / 2)).p == 0


def test_update_starts_a_new_mean() -> None:
    state = update(seen(1.0, 1.0))
    assert (state.sign_sum, state.sign_count) == (0, 0)


def test_mean_that_is_no_number_is_left_out() -> None:
    state = take_in(seen(1.0, 1.0, -1.0), np.float32("nan"), 5)
    np.testing.assert_allclose(measure(state), 1 / 3, rtol=1e-6)


def test_controller_keeps_its_types_under_jit() -> None:
    state = init_augment_state()
    after = jax.jit(lambda state, sign: updated(with_mean_sign(state, sign, 3), **RATE))(state, jnp.bfloat16(1))
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [jnp.float32] * 3
    assert [leaf.weak_type for leaf in jax.tree.leaves(after)] == [leaf.weak_type for leaf in jax.tree.leaves(state)]


def test_p_rises_by_one_in_the_given_kimg() -> None:
    def step(state: AugmentState, _: None) -> tuple[AugmentState, None]:
        return updated(with_mean_sign(state, jnp.ones(()), 4), target=0.6, images_per_update=1000, kimg=500), None

    state, _ = jax.lax.scan(step, init_augment_state(), length=500)
    np.testing.assert_allclose(state.p, 1, rtol=1e-5)
