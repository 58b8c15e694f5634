"""The losses of the phases of a step, as functions of the parameters that the phase trains."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp

from inr_gan_jax import losses
from inr_gan_jax.array_types import Array, Params, Variables
from inr_gan_jax.config.schema import Config, LossConfig
from inr_gan_jax.metrics.networks.vgg16 import load_vgg16, perceptual_distance
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.training.augmentation import Augmentation
from inr_gan_jax.training.phase_inputs import PhaseInputs
from inr_gan_jax.training.sharding import Shardings
from inr_gan_jax.training.state import TrainState

Scalars = dict[str, Array]
Phase = Literal["generator", "path_length", "discriminator", "penalty"]
PHASES: tuple[Phase, ...] = get_args(Phase)
# The distance [batch] between generated and real images [batch, height, width, channels], given weights.
PerceptualDistance = Callable[[Any, Array, Array], Array]

# Gradients; scalars to log, and the mean of w [w_dim] over the batch of generated images.
Gradients = tuple[Params, tuple[Scalars, Array]]

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class PhaseLosses:
    """The losses of one run, with its networks.

    Attributes:
        config: of the run.
        generator, discriminator: networks.
        shardings: placement of arrays on devices; None leaves it to the compiler.
        perceptual: of the perceptual term; None for none.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    shardings: Shardings | None = None
    perceptual: PerceptualDistance | None = None

    @property
    def augmentation(self) -> Augmentation:
        """Of the discriminator's input."""
        return Augmentation(self.config.augment, self.config.training.batch_size)

    def gradients(
        self, phase: Phase, state: TrainState, inputs: PhaseInputs, features: Params | None = None
    ) -> Gradients:
        """Gradients of the loss of a phase with respect to the network that it trains, one microbatch at a time."""
        if phase == "path_length":
            return self._path_length_gradients(state, inputs)
        if phase == "generator":
            loss, params = self.generator_loss, state.generator_params
        else:
            loss = self.discriminator_loss if phase == "discriminator" else self.penalty_loss
            params = state.discriminator_params
        batch = inputs.real.shape[0]
        group = min(self.config.discriminator.mbstd_group_size or batch, batch)

        def of_part(part: PhaseInputs) -> Gradients:
            return jax.grad(loss, has_aux=True)(params, state, self.constrain_inputs(part), features)

        return mean_over_microbatches(of_part, inputs, self.config.training.num_microbatches, group)

    def generator_loss(
        self, params: Params, state: TrainState, inputs: PhaseInputs, features: Params | None = None
    ) -> tuple[Array, tuple[Scalars, Array]]:
        """Adversarial loss of the generator, and the perceptual term where it has a weight."""
        adversarial = losses.ADVERSARIAL_LOSSES[self.config.loss.adversarial]
        images, w = self._generate({"params": params, "constants": state.constants}, inputs)
        fake_logits = self._score(state.discriminator_params, state, images, inputs, inputs.fake_augment)
        real_logits = None
        if adversarial.is_relativistic:
            real_logits = self._score(state.discriminator_params, state, inputs.real, inputs, inputs.real_augment)
        loss = adversarial.generator(fake_logits, real_logits)
        scalars = {"loss/generator": loss, "images/contrast": _contrast(images) / (_contrast(inputs.real) + 1e-8)}
        if self.perceptual is not None:
            scalars["loss/perceptual"] = jnp.mean(self.perceptual(features, images, inputs.real))
            loss = loss + self.config.loss.perceptual_weight * scalars["loss/perceptual"]
        return loss, (scalars, w)

    def discriminator_loss(
        self, params: Params, state: TrainState, inputs: PhaseInputs, features: Params | None = None
    ) -> tuple[Array, tuple[Scalars, Array]]:
        """Adversarial loss of the discriminator, with the penalties added when they belong to the same step."""
        del features
        images, w = self._generate(state.variables, inputs)
        real_logits = self._score(params, state, inputs.real, inputs, inputs.real_augment)
        fake_logits = self._score(params, state, images, inputs, inputs.fake_augment)
        loss = losses.ADVERSARIAL_LOSSES[self.config.loss.adversarial].discriminator(real_logits, fake_logits)
        scalars = {"loss/discriminator": loss, "logits/real": real_logits.mean(), "logits/fake": fake_logits.mean()}
        scalars["logits/sign_real"] = jnp.mean(jnp.sign(real_logits))
        if self.config.loss.has_penalty and not self.config.loss.has_lazy_penalty:
            penalty, more = self._penalties(params, state, inputs, images)
            loss, scalars = loss + penalty, {**more, **scalars}
        return loss, (scalars, w)

    def penalty_loss(
        self, params: Params, state: TrainState, inputs: PhaseInputs, features: Params | None = None
    ) -> tuple[Array, tuple[Scalars, Array]]:
        """Lazy R1 and R2, weighted by `r1_interval`.

        Source: arXiv 1912.04958, appendix B (lazy regularisation).
        """
        del features
        images = self._generate(state.variables, inputs)[0] if self.config.loss.r2_gamma else None
        penalty, scalars = self._penalties(params, state, inputs, images)
        return self.config.loss.r1_interval * penalty, (scalars, jnp.zeros_like(state.w_avg))

    def _penalties(
        self, params: Params, state: TrainState, inputs: PhaseInputs, fake: Array | None
    ) -> tuple[Array, Scalars]:
        """R1 and R2, each weighted by half its gamma."""
        settings = self.config.loss
        scalars, total = {}, jnp.zeros((), inputs.real.dtype)
        if settings.r1_gamma:
            scalars["loss/r1"], logits = losses.gradient_penalty(
                lambda images: self._score(params, state, images, inputs, inputs.real_augment), inputs.real
            )
            scalars["logits/sign_real"] = jnp.mean(jnp.sign(logits))
            total = total + settings.r1_gamma / 2 * scalars["loss/r1"]
        if settings.r2_gamma and fake is not None:
            scalars["loss/r2"], _ = losses.gradient_penalty(
                lambda images: self._score(params, state, images, inputs, inputs.fake_augment), fake
            )
            total = total + settings.r2_gamma / 2 * scalars["loss/r2"]
        return total, scalars

    def _path_length_gradients(self, state: TrainState, inputs: PhaseInputs) -> Gradients:
        """Gradients of the path-length penalty, weighted by `pl_interval`, on a share of the batch."""
        settings, rounds = self.config.loss, self.config.training.num_microbatches
        inputs = inputs.first(inputs.real.shape[0] // settings.pl_batch_shrink)

        def lengths(params: Params, part: PhaseInputs) -> tuple[Array, Array]:
            variables = {"params": params, "constants": state.constants}
            ws, w = self.map_latents(variables, part)
            return losses.path_lengths(lambda codes: self._synthesize(variables, codes, part), ws, part.direction), w

        batch_mean = None
        if rounds > 1:
            # The penalty of each image depends on the path lengths of all images.
            batch_mean = mean_over_microbatches(
                lambda part: jnp.mean(lengths(state.generator_params, self.constrain_inputs(part))[0]),
                inputs,
                rounds,
                1,
            )

        def loss(params: Params, part: PhaseInputs) -> tuple[Array, tuple[Scalars, Array]]:
            values, w = lengths(params, part)
            penalty, mean = losses.path_length_penalty(values, state.pl_mean, settings.pl_decay, batch_mean)
            scalars = {"loss/path_length": penalty, "path_length/mean": mean}
            return settings.pl_interval * settings.pl_weight * penalty, (scalars, w)

        def of_part(part: PhaseInputs) -> Gradients:
            return jax.grad(loss, has_aux=True)(state.generator_params, self.constrain_inputs(part))

        return mean_over_microbatches(of_part, inputs, rounds, 1)

    def constrain_inputs(self, inputs: PhaseInputs) -> PhaseInputs:
        """Shards the batch over the devices."""
        if self.shardings is None:
            return inputs
        real, direction = map(self.shardings.constrain_images, (inputs.real, inputs.direction))
        return jax.lax.with_sharding_constraint(inputs, self.shardings.batch).replace(real=real, direction=direction)

    def _generate(self, variables: Variables, inputs: PhaseInputs) -> tuple[Array, Array]:
        """Fresh images [batch, height, width, channels] and the mean [w_dim] of their w.

        Differs: they have the labels of the real batch, where the official loop samples others from the data set. Both
        have the distribution of the data, and relativistic pairs need equal labels.
        """
        ws, w = self.map_latents(variables, inputs)
        return self._synthesize(variables, ws, inputs), w

    def _synthesize(self, variables: Variables, ws: Array, inputs: PhaseInputs) -> Array:
        images = self.generator.batch_synthesis(variables, ws, inputs.latents.noise_keys)
        return self.shardings.constrain_images(images) if self.shardings else images

    def map_latents(self, variables: Variables, inputs: PhaseInputs) -> tuple[Array, Array]:
        """Ws [batch, num_ws, w_dim], with styles mixed, and the mean [w_dim] of w before mixing."""
        codes = inputs.latents
        ws = self.generator.batch_mapping(variables, codes.z, inputs.labels)
        w = jnp.mean(ws[:, 0], axis=0)
        if codes.mixing_z is not None and codes.num_first is not None:
            others = self.generator.batch_mapping(variables, codes.mixing_z, inputs.labels)
            takes_first = jnp.arange(ws.shape[1])[None, :] < codes.num_first[:, None]
            ws = jnp.where(takes_first[..., None], ws, others)
        return ws, w

    def _score(self, params: Params, state: TrainState, images: Array, inputs: PhaseInputs, transform: Any) -> Array:
        """Logits [batch] of augmented images."""
        images = self.augmentation(images, transform, state.augment.p)
        logits = self.discriminator.apply({"params": params}, images, inputs.labels)
        assert isinstance(logits, jax.Array), "the discriminator returns one array"
        return logits


def _contrast(images: Array) -> Array:
    """Standard deviation across the batch, averaged over pixels: 0 when all images are the same."""
    return jnp.mean(jnp.std(images, axis=0))


def split_batch(batch: Any, rounds: int, group_size: int) -> Any:
    """Splits a batch into microbatches of whole groups of the minibatch standard deviation.

    Member m of group n is sample m * num_groups + n, in the batch and in each microbatch.

    Args:
        batch: pytree of arrays [batch, ...].
        rounds: number of microbatches.
        group_size: samples per group; the batch size is a multiple of `rounds * group_size`.

    Returns:
        The pytree with arrays [rounds, batch / rounds, ...].
    """

    def split(array: Any) -> Any:
        groups = array.reshape(group_size, rounds, -1, *array.shape[1:])
        return jnp.swapaxes(groups, 0, 1).reshape(rounds, -1, *array.shape[1:])

    return jax.tree.map(split, batch)


def mean_over_microbatches(function: Callable[[Any], _T], batch: Any, rounds: int, group_size: int) -> _T:
    """Averages the results of a function over the microbatches of a batch, computed one after the other.

    Args:
        function: maps a batch (or a microbatch) to a pytree of arrays, such as gradients.
        batch: pytree of arrays [batch, ...].
        rounds: number of microbatches; with 1 the function is called on the whole batch.
        group_size: see `split_batch`.
    """
    if rounds == 1:
        return function(batch)
    parts = split_batch(batch, rounds, group_size)
    shapes = jax.eval_shape(function, jax.tree.map(lambda array: array[0], parts))
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(total: _T, part: Any) -> tuple[_T, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    total, _ = jax.lax.scan(add, zeros, parts)
    return jax.tree.map(lambda leaf: leaf / rounds, total)


def load_perceptual(config: LossConfig) -> tuple[Any, PerceptualDistance | None]:
    """Loads VGG16 from the user's file.

    Returns:
        Weights, and the distance [batch] between generated and real images [batch, height, width, channels] given
        them; None twice for a run without the term.

    Raises:
        UserError: one sentence, if the file is missing or holds other weights.
    """
    if not config.perceptual_weight:
        return None, None
    return load_vgg16(Path(config.vgg16_file).expanduser()), vgg16_distance


def vgg16_distance(weights: Any, generated: Array, real: Array) -> Array:
    """Distance [batch] between the features of images [batch, height, width, 1 or 3] in [-1, 1]."""
    return perceptual_distance(weights, _with_three_channels(generated), _with_three_channels(real))


def _with_three_channels(images: Array) -> Array:
    """Repeats grey images in three channels."""
    return jnp.broadcast_to(images, (*images.shape[:-1], 3))
