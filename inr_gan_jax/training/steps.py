"""The training step: pure functions of state and batch, one a phase.

A step shows one batch of real images: the discriminator is updated on it and on fresh generated images, then the
generator against the new discriminator. Where R1 is lazy, every `r1_interval`-th step is followed by one on
the penalty.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from inr_gan_jax import losses
from inr_gan_jax.array_types import Array, Params, PRNGKey, Variables
from inr_gan_jax.config import Config
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.mapping import updated_w_avg
from inr_gan_jax.training.optimizers import Optimizers
from inr_gan_jax.training.state import TrainState

# Noise is drawn from another key than the latent codes.
_NOISE_STREAM = 1

Scalars = dict[str, Array]
Batch = Mapping[str, Array]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Scalars]]


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """The step of one run and the networks it trains.

    Attributes:
        config: of the run.
        generator, discriminator: networks.
        optimizers: of the two.
        batch_sharding: placement of everything that has a batch axis; None leaves it to the compiler.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    optimizers: Optimizers
    batch_sharding: Any = None

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        """Does one step.

        Args:
            state: before the step.
            batch: `image`, uint8 [batch, height, width, channels], and `label`, int32 [batch].

        Returns:
            The state after the step, and scalars to log.
        """
        real, labels = self.prepare(batch)
        discriminator_key, generator_key = jax.random.split(state.step_key())
        state, discriminator_scalars = self.discriminator_phase(state, real, labels, discriminator_key)
        state, generator_scalars = self.generator_phase(state, labels, generator_key)
        state = state.replace(ema_params=self.averaged(state), step=state.step + 1)
        return state, {**discriminator_scalars, **generator_scalars}

    def prepare(self, batch: Batch) -> tuple[Array, Array | None]:
        """Turns a batch into images in [-1, 1] and one-hot labels (None for an unconditional run)."""
        num_classes = self.config.data.num_classes
        labels = jax.nn.one_hot(batch["label"], num_classes) if num_classes else None
        return batch["image"].astype(jnp.float32) / 127.5 - 1, labels

    def discriminator_phase(
        self, state: TrainState, real: Array, labels: Array | None, key: PRNGKey
    ) -> tuple[TrainState, Scalars]:
        """Updates the discriminator on real and on generated images."""
        variables = {"params": state.generator_params, "constants": state.constants}
        gradients, (scalars, ws) = self.discriminator_gradients(
            state.discriminator_params, variables, real, labels, key
        )
        return self._update_discriminator(self._with_ws(state, ws), gradients), scalars

    def discriminator_gradients(
        self, params: Params, generator_variables: Variables, real: Array, labels: Array | None, key: PRNGKey
    ) -> tuple[Params, tuple[Scalars, Array]]:
        """Gradients of the discriminator's loss; scalars to log; ws [batch, num_ws, w_dim] of the generated images."""
        return jax.grad(self.discriminator_loss, has_aux=True)(params, generator_variables, real, labels, key)

    def discriminator_loss(
        self, params: Params, generator_variables: Variables, real: Array, labels: Array | None, key: PRNGKey
    ) -> tuple[Array, tuple[Scalars, Array]]:
        """Logistic loss, with R1 added when it belongs to the same step."""
        fake, ws = self._generate(generator_variables, labels, key)
        real_logits, fake_logits = self._score(params, real, labels), self._score(params, fake, labels)
        loss = losses.discriminator_loss(real_logits, fake_logits)
        scalars = {"loss/discriminator": loss, "logits/real": real_logits.mean(), "logits/fake": fake_logits.mean()}
        settings = self.config.loss
        if settings.r1_gamma and settings.r1_interval == 1:
            scalars["loss/r1"] = losses.r1_penalty(lambda images: self._score(params, images, labels), real)
            loss = loss + settings.r1_gamma / 2 * scalars["loss/r1"]
        return loss, (scalars, ws)

    def regularise(self, state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        """Does the lazy R1 step: `r1_interval` times as hard, on the real images of the step before.

        Returns:
            The state with the discriminator updated, and the penalty.

        Source: arXiv 1912.04958, appendix B (lazy regularisation).
        """
        real, labels = self.prepare(batch)
        weight = self.config.loss.r1_gamma / 2 * self.config.loss.r1_interval

        def loss_of(params: Params) -> tuple[Array, Array]:
            penalty = losses.r1_penalty(lambda images: self._score(params, images, labels), real)
            return weight * penalty, penalty

        gradients, penalty = jax.grad(loss_of, has_aux=True)(state.discriminator_params)
        return self._update_discriminator(state, gradients), {"loss/r1": penalty}

    def is_lazy(self) -> bool:
        """Whether R1 has steps of its own."""
        return self.config.loss.r1_interval > 1 and self.config.loss.r1_gamma > 0

    def generator_phase(self, state: TrainState, labels: Array | None, key: PRNGKey) -> tuple[TrainState, Scalars]:
        """Updates the generator against the discriminator."""
        gradients, (scalars, ws) = self.generator_gradients(
            state.generator_params, state.constants, state.discriminator_params, labels, key
        )
        state = self._with_ws(state, ws)
        updates, optimizer = self.optimizers.generator.update(gradients, state.generator_opt, state.generator_params)
        params = optax.apply_updates(state.generator_params, updates)
        return state.replace(generator_params=params, generator_opt=optimizer), scalars

    def generator_gradients(
        self, params: Params, constants: Params, discriminator_params: Params, labels: Array | None, key: PRNGKey
    ) -> tuple[Params, tuple[Scalars, Array]]:
        """Gradients of the generator's loss; scalars to log; ws [batch, num_ws, w_dim] of the images."""
        return jax.grad(self.generator_loss, has_aux=True)(params, constants, discriminator_params, labels, key)

    def generator_loss(
        self, params: Params, constants: Params, discriminator_params: Params, labels: Array | None, key: PRNGKey
    ) -> tuple[Array, tuple[Scalars, Array]]:
        """Non-saturating loss."""
        images, ws = self._generate({"params": params, "constants": constants}, labels, key)
        loss = losses.generator_loss(self._score(discriminator_params, images, labels))
        return loss, ({"loss/generator": loss}, ws)

    def averaged(self, state: TrainState) -> Params:
        """The average of the generator's parameters, with the newest ones taken in."""
        settings = self.config.training
        images_shown = (state.step * settings.batch_size).astype(jnp.float32)
        half_life = jnp.asarray(settings.ema_kimg * 1000)
        if settings.ema_rampup:
            half_life = jnp.minimum(half_life, images_shown * settings.ema_rampup)
        keep = 0.5 ** (settings.batch_size / jnp.maximum(half_life, 1e-8))
        return jax.tree.map(lambda old, new: new + keep * (old - new), state.ema_params, state.generator_params)

    def _update_discriminator(self, state: TrainState, gradients: Params) -> TrainState:
        updates, optimizer = self.optimizers.discriminator.update(
            gradients, state.discriminator_opt, state.discriminator_params
        )
        params = optax.apply_updates(state.discriminator_params, updates)
        return state.replace(discriminator_params=params, discriminator_opt=optimizer)

    def _with_ws(self, state: TrainState, ws: Array) -> TrainState:
        return state.replace(w_avg=updated_w_avg(state.w_avg, ws, self.generator.w_avg_decay))

    def _generate(self, variables: Variables, labels: Array | None, key: PRNGKey) -> tuple[Array, Array]:
        """Fresh images [batch, height, width, channels] and their ws [batch, num_ws, w_dim]."""
        z = self.generator.latents(key, self.config.training.batch_size)
        if self.batch_sharding is not None:
            z = jax.lax.with_sharding_constraint(z, self.batch_sharding)
        ws = self.generator.batch_mapping(variables, z, labels)
        return self.generator.batch_synthesis(variables, ws, jax.random.fold_in(key, _NOISE_STREAM)), ws

    def _score(self, params: Params, images: Array, labels: Array | None) -> Array:
        logits = self.discriminator.apply({"params": params}, images, labels)
        assert isinstance(logits, jax.Array), "the discriminator returns one array"
        return logits
