"""Layers of the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.layers import append_minibatch_stddev
from inr_gan_jax.models.mapping import MappingNetwork


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("batch", "group"), [(8, 4), (4, 4), (2, 4), (6, 3)])
def test_minibatch_stddev_groups_are_strided(batch: int, group: int) -> None:
    x = np.random.default_rng(0).normal(size=(batch, 4, 4, 3))
    size = min(group, batch)
    ours = append_minibatch_stddev(jnp.asarray(x), group)
    for sample in range(batch):
        members = x[sample % (batch // size) :: batch // size]
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(ours[sample, ..., 3], expected, atol=1e-12)
    np.testing.assert_array_equal(ours[..., :3], x)


def test_minibatch_stddev_refuses_a_batch_that_leaves_a_rest() -> None:
    with pytest.raises(ValueError, match="batch of 6, expected a multiple of its group size 4"):
        append_minibatch_stddev(jnp.ones((6, 4, 4, 1)), 4)


def test_minibatch_stddev_gradient_is_finite_where_samples_are_equal() -> None:
    gradient = jax.grad(lambda x: append_minibatch_stddev(x, 4)[..., -1].sum())(jnp.ones((4, 2, 2, 1)))
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_conditional_discriminator_reads_the_label() -> None:
    network = Discriminator((8, 8), channel_base=64, channel_max=8, c_dim=3, num_label_layers=1)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    labels = jax.nn.one_hot(jnp.array([0, 1, 2, 0]), 3)
    variables = network.init(jax.random.key(1), images, labels)
    scores = network.apply(variables, images, labels)
    assert scores.shape == (4,)
    assert np.abs(scores - network.apply(variables, images, labels[::-1]))[1:3].min() > 1e-6
    with pytest.raises(ValueError, match="no labels"):
        network.apply(variables, images)


@pytest.mark.slow
def test_rectangles_pass_through_the_discriminator() -> None:
    network = Discriminator((8, 24), channel_base=64, channel_max=8)
    images = jnp.ones((4, 8, 24, 3))
    assert network.apply(network.init(jax.random.key(0), images), images).shape == (4,)


def test_mapping_network_ignores_the_length_of_z() -> None:
    network = MappingNetwork(6)
    z = jax.random.normal(jax.random.key(0), (4,))
    variables = network.init(jax.random.key(1), z, None)
    np.testing.assert_allclose(network.apply(variables, z, None), network.apply(variables, 5 * z, None), atol=1e-5)
    with pytest.raises(ValueError, match="neither z nor c"):
        network.apply(variables, None, None)
