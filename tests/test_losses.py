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
    penalty = losses.gradient_penalty(lambda batch: jnp.einsum("bhwc,hwc->b", batch, weight), images)[0]
    assert penalty == pytest.approx(float(jnp.sum(weight**2)))


def test_r1_has_a_gradient_to_the_discriminator() -> None:
    images = jnp.ones((2, 2, 2, 1))
    gradient = jax.grad(lambda scale: losses.gradient_penalty(lambda batch: scale * batch.sum((1, 2, 3)), images)[0])(
        3.0
    )
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


def test_relativistic_losses_compare_pairs() -> None:
    real, fake = jnp.array([3.0, -1.0]), jnp.array([1.0, 1.0])
    difference = np.array([2.0, -2.0])
    assert losses.relativistic_discriminator_loss(real, fake) == pytest.approx(np.log1p(np.exp(-difference)).mean())
    assert losses.relativistic_generator_loss(fake, real) == pytest.approx(np.log1p(np.exp(difference)).mean())
    shifted = losses.relativistic_discriminator_loss(real + 7, fake + 7)
    assert shifted == pytest.approx(float(losses.relativistic_discriminator_loss(real, fake)))
    with pytest.raises(ValueError, match="no logits of real images"):
        losses.relativistic_generator_loss(fake, None)


def test_hinge_losses_stop_at_the_margin() -> None:
    real, fake = jnp.array([0.5, 2.0]), jnp.array([-3.0, 0.25])
    assert losses.hinge_discriminator_loss(real, fake) == pytest.approx((0.5 + 0.0) / 2 + (0.0 + 1.25) / 2)
    assert losses.hinge_generator_loss(fake) == pytest.approx(2.75 / 2)


def test_path_length_penalty_of_parts_has_the_gradient_of_the_whole() -> None:
    lengths, mean = jnp.array([1.0, 2.0, 4.0, 9.0]), jnp.asarray(0.5)

    def whole(lengths: jax.Array) -> jax.Array:
        return losses.path_length_penalty(lengths, mean, 0.2)[0]

    def parts(lengths: jax.Array) -> jax.Array:
        batch_mean = jax.lax.stop_gradient(lengths.mean())
        return sum(losses.path_length_penalty(lengths[i : i + 2], mean, 0.2, batch_mean)[0] for i in (0, 2)) / 2

    np.testing.assert_allclose(jax.grad(parts)(lengths), jax.grad(whole)(lengths), rtol=1e-12)
    assert parts(lengths) == pytest.approx(float(whole(lengths)))
