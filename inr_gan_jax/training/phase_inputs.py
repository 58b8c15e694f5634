"""Images and random numbers of one phase of a step; every leaf has a leading batch axis."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array, PRNGKey
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.training.augmentation import Augmentation


class LatentBatch(struct.PyTreeNode):
    """Random inputs of the generator for one batch of images.

    Attributes:
        z: [batch, z_dim], latent codes.
        mixing_z: [batch, z_dim], latent codes of the later layers; None without style mixing.
        num_first: [batch], how many of the first layers use `z`; None without style mixing.
        noise_keys: [batch], keys of the noise; None for a network without noise.
    """

    z: Array
    mixing_z: Array | None
    num_first: Array | None
    noise_keys: PRNGKey | None


class PhaseInputs(struct.PyTreeNode):
    """Images and random numbers of one phase.

    Attributes:
        real: [batch, height, width, channels], in [-1, 1].
        labels: [batch, c_dim], one-hot; None for an unconditional run.
        latents: random inputs of the generator.
        real_augment, fake_augment: random numbers that augment real and generated images; None for none.
        direction: [batch, height, width, channels], standard normal, for path lengths.
    """

    real: Array
    labels: Array | None
    latents: LatentBatch
    real_augment: Any
    fake_augment: Any
    direction: Array

    def first(self, count: int) -> "PhaseInputs":
        """The first `count` samples of the batch."""
        return jax.tree.map(lambda array: array[:count], self)


def sample_phase_inputs(
    config: Config,
    generator: Generator,
    augmentation: Augmentation,
    images: tuple[Array, Array | None],
    key: PRNGKey,
    z: Array | None = None,
) -> PhaseInputs:
    """Samples the random numbers of one phase.

    Args:
        config: of the run.
        generator: network.
        augmentation: of the discriminator's input.
        images: real images and their labels, as in `PhaseInputs`.
        key: of this phase of this step.
        z: [batch, z_dim], latent codes; sampled if None.
    """
    real, labels = images
    latent_key, mixing_key, noise_key, real_key, fake_key, direction_key = jax.random.split(key, 6)
    size, height, width, channels = real.shape
    if z is None:
        z = generator.latents(latent_key, size)
    mixing_z, num_first = _mixing(config.loss.style_mixing_prob, generator, mixing_key, size)
    return PhaseInputs(
        real=real,
        labels=labels,
        latents=LatentBatch(
            z, mixing_z, num_first, jax.random.split(noise_key, size) if generator.uses_noise else None
        ),
        real_augment=augmentation.sample(real_key, (size, height, width, channels)),
        fake_augment=augmentation.sample(fake_key, (size, height, width, channels)),
        direction=jax.random.normal(direction_key, real.shape, real.dtype),
    )


def _mixing(probability: float, generator: Generator, key: PRNGKey, size: int) -> tuple[Array | None, Array | None]:
    """Latent codes of the later layers, and the first layer that uses them, one for the whole batch.

    Source: arXiv 1812.04948 §3.1.
    """
    if not probability:
        return None, None
    latent_key, choice_key, cutoff_key = jax.random.split(key, 3)
    cutoff = jax.random.randint(cutoff_key, (), 1, generator.num_ws)
    num_first = jnp.where(jax.random.uniform(choice_key) < probability, cutoff, generator.num_ws)
    return generator.latents(latent_key, size), jnp.broadcast_to(num_first, (size,))
