"""The augmentation of a run and the adaptation of its strength."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, PRNGKey
from inr_gan_jax.augment import controller, differentiable, pipeline
from inr_gan_jax.augment.controller import AugmentState
from inr_gan_jax.augment.differentiable import DifferentiableSettings
from inr_gan_jax.config.schema import AugmentConfig


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Augments the images that the discriminator sees.

    Attributes:
        config: section `augment`.
        batch_size: images per step.
    """

    config: AugmentConfig
    batch_size: int

    def sample(self, key: PRNGKey, shape: tuple[int, int, int, int]) -> Any:
        """Random numbers for images of [batch, height, width, channels], each with a leading batch axis."""
        if self.config.kind == "none":
            return None
        if self.config.kind == "differentiable":
            return differentiable.sample_inputs(self._policies, key, shape[0], shape[1:])
        return pipeline.sample_inputs(pipeline.PIPELINES[self.config.pipeline], key, shape[0], shape[1:])

    def __call__(self, images: Array, transform: Any, p: Array) -> Array:
        """Augments images [batch, height, width, channels] with random numbers of `sample`.

        `p` scales the probability of each augmentation.
        """
        if self.config.kind == "none":
            return images
        if self.config.kind == "differentiable":
            return differentiable.augment(self._policies, images, transform, jnp.ones_like(p))
        return pipeline.augment(pipeline.PIPELINES[self.config.pipeline], images, transform, p)

    @property
    def _policies(self) -> DifferentiableSettings:
        return DifferentiableSettings(self.config.policy)

    def adapt(self, state: AugmentState, steps_done: Array) -> AugmentState:
        """The augmentation state after a step; it changes every `interval` steps of an adaptive augmentation."""
        config = self.config
        if config.kind != "ada":
            return state
        images = self.batch_size * config.interval
        changed = controller.updated(state, target=config.target, images_per_update=images, kimg=config.kimg)
        is_due = steps_done % config.interval == 0
        return jax.tree.map(lambda new, old: jnp.where(is_due, new, old), changed, state)
