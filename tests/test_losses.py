"""Losses and penalties in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import losses

pytestmark = pytest.mark.usefixtures("x64")


def test_r1_of_a_linear_discriminator_is_its_squared_weight() -> None:
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 2)))
    images = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 4, 2)))
    penalty = losses.r1_penalty(lambda batch: jnp.einsum("bhwc,hwc->b", batch, weight), images)
    assert penalty == pytest.approx(float(jnp.sum(weight**2)))


def test_r1_has_a_gradient_to_the_discriminator() -> None:
    images = jnp.ones((2, 2, 2, 1))
    gradient = jax.grad(lambda scale: losses.r1_penalty(lambda batch: scale * batch.sum((1, 2, 3)), images))(3.0)
    assert gradient == pytest.approx(2 * 3.0 * 4)


def test_losses_are_log_two_at_chance_and_fall_in_the_right_direction() -> None:
    zeros = jnp.zeros(5)
    assert losses.generator_loss(zeros) == pytest.approx(np.log(2))
    assert losses.discriminator_loss(zeros, zeros) == pytest.approx(2 * np.log(2))
    assert losses.generator_loss(zeros + 3) < np.log(2) < losses.generator_loss(zeros - 3)
    assert losses.discriminator_loss(zeros + 3, zeros - 3) < losses.discriminator_loss(zeros - 3, zeros + 3)


def test_losses_stay_finite_at_huge_logits() -> None:
    huge = jnp.array([1e4, -1e4])
    assert np.isfinite(losses.generator_loss(huge))
    assert np.isfinite(losses.discriminator_loss(huge, huge))
