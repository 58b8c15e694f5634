"""The training step: a pure function of state and batch, with up to four phases.

    generator       against the discriminator
    path_length     lazy regulariser of the generator, every `pl_interval` steps
    discriminator   on real and on generated images, with R1 and R2 where they are not lazy
    penalty         lazy R1 and R2 of the discriminator, every `r1_interval` steps

Each phase has its own random numbers and optimizer step, and starts from the result of the phase before it.
Source: order and weights are those of the training loop of arXiv 2006.06676.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.augment import controller
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.mapping import updated_w_avg
from inr_gan_jax.training.optimizers import Optimizers, sanitize_gradients
from inr_gan_jax.training.phase_inputs import PhaseInputs, sample_phase_inputs
from inr_gan_jax.training.phase_losses import PHASES, PerceptualDistance, Phase, PhaseLosses, Scalars
from inr_gan_jax.training.sharding import Shardings
from inr_gan_jax.training.state import TrainState

Batch = Mapping[str, Array]
PhaseScalars = dict[Phase, Scalars]


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """The training step of one run, with its networks.

    Attributes:
        config: of the run.
        generator, discriminator: networks.
        optimizers: of the two.
        shardings: placement of arrays on devices; None leaves it to the compiler.
        perceptual: of the perceptual term; None for none.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    optimizers: Optimizers
    shardings: Shardings | None = None
    perceptual: PerceptualDistance | None = None

    @property
    def losses(self) -> PhaseLosses:
        """The losses that the phases minimise."""
        return PhaseLosses(self.config, self.generator, self.discriminator, self.shardings, self.perceptual)

    def intervals(self) -> dict[Phase, int]:
        """The phases of the run in order, with the interval of each in steps."""
        loss = self.config.loss
        generator: dict[Phase, int] = {"generator": 1}
        if loss.pl_weight:
            generator["path_length"] = loss.pl_interval
        discriminator: dict[Phase, int] = {"discriminator": 1}
        if loss.has_lazy_penalty:
            discriminator["penalty"] = loss.r1_interval
        first, second = generator, discriminator
        if not self.config.training.generator_first:
            first, second = second, first
        return {**first, **second}

    def __call__(
        self, state: TrainState, batch: Batch, features: Params | None = None, z: Mapping[str, Array] | None = None
    ) -> tuple[TrainState, PhaseScalars]:
        """Does one step.

        Args:
            state: before the step.
            batch: `image`, uint8 [batch, height, width, channels], and `label`, int32 [batch].
            features: weights of the network of the perceptual term.
            z: latent codes [batch, z_dim] of each phase; sampled if None.

        Returns:
            The state after the step, and the scalars of each phase to log; those of a phase that is not due are 0.
        """
        images = self.prepare(batch, state.w_avg.dtype)
        key, start, scalars = state.step_key(), state.step, {}
        for phase, interval in self.intervals().items():
            codes = None if z is None else z[phase]

            def run(state: TrainState, phase: Phase = phase, codes: Array | None = codes) -> Any:
                phase_key = jax.random.fold_in(key, PHASES.index(phase))
                inputs = sample_phase_inputs(
                    self.config, self.generator, self.losses.augmentation, images, phase_key, codes
                )
                return self.run_phase(phase, state, self.losses.constrain_inputs(inputs), features)

            state, scalars[phase] = run(state) if interval == 1 else run_if_due(run, start % interval == 0, state)
        augment = self.losses.augmentation.adapt(state.augment, start + 1)
        if self.config.augment.kind == "ada":
            scalars["discriminator"]["augment/p"] = augment.p
        state = state.replace(ema_params=self.ema_update(state), augment=augment, step=start + 1)
        return self.shardings.constrain_state(state) if self.shardings else state, scalars

    def prepare(self, batch: Batch, dtype: Any = jnp.float32) -> tuple[Array, Array | None]:
        """Converts a batch to images in [-1, 1] and one-hot labels (None for an unconditional run)."""
        num_classes = self.config.data.num_classes
        labels = jax.nn.one_hot(batch["label"], num_classes, dtype=dtype) if num_classes else None
        return batch["image"].astype(dtype) / 127.5 - 1, labels

    def run_phase(
        self, phase: Phase, state: TrainState, inputs: PhaseInputs, features: Params | None = None
    ) -> tuple[TrainState, Scalars]:
        """Runs one phase, which updates one network.

        Returns:
            The state with the network, its optimizer and the running means of the phase updated, and scalars to log.
        """
        gradients, (scalars, w) = self.losses.gradients(phase, state, inputs, features)
        state, numbers = self._apply_gradients(phase, state, gradients)
        if phase == "path_length":
            state = state.replace(pl_mean=scalars["path_length/mean"])
        if phase != "penalty":
            state = state.replace(w_avg=updated_w_avg(state.w_avg, w, self.generator.w_avg_decay))
        if "logits/sign_real" in scalars:
            count = inputs.real.shape[0]
            state = state.replace(augment=controller.with_mean_sign(state.augment, scalars["logits/sign_real"], count))
        return state, {**scalars, **numbers}

    def ema_update(self, state: TrainState) -> Params:
        """The moving average of the generator's parameters after this step."""
        settings, dtype = self.config.training, state.w_avg.dtype
        images_shown = (state.step * settings.batch_size).astype(dtype)
        half_life = jnp.asarray(settings.ema_kimg * 1000, dtype)
        if settings.ema_rampup:
            half_life = jnp.minimum(half_life, images_shown * settings.ema_rampup)
        keep = 0.5 ** (settings.batch_size / jnp.maximum(half_life, 1e-8))
        return jax.tree.map(lambda old, new: new + keep * (old - new), state.ema_params, state.generator_params)

    def _apply_gradients(self, phase: Phase, state: TrainState, gradients: Params) -> tuple[TrainState, Scalars]:
        """Applies the gradients of a phase with its optimizer."""
        network = "generator" if phase in ("generator", "path_length") else "discriminator"
        optimizer, params = getattr(self.optimizers, network), getattr(state, f"{network}_params")
        gradients, num_bad = sanitize_gradients(gradients)
        updates, memory = optimizer.update(gradients, getattr(state, f"{network}_opt"), params)
        if self.config.guard.lr_factor != 1:
            factor = self.config.guard.lr_factor ** state.num_rollbacks.astype(state.w_avg.dtype)
            updates = jax.tree.map(lambda update: update * factor, updates)
        changed = {f"{network}_params": optax.apply_updates(params, updates), f"{network}_opt": memory}
        numbers = {f"gradient_norm/{phase}": optax.tree.norm(gradients), f"not_finite/{phase}": num_bad}
        return state.replace(**changed), numbers


def run_if_due(
    run: Callable[[TrainState], tuple[TrainState, Scalars]], is_due: Array, state: TrainState
) -> tuple[TrainState, Scalars]:
    """Runs a phase if it is due; otherwise returns the same state, and zeros as scalars.

    One program per set of due phases would be no faster and take up to 1.8 times as long to compile
    (benchmarks/results/phases.json).
    """
    run = jax.jit(run)  # traced once for both uses
    shapes = jax.eval_shape(run, state)[1]
    return jax.lax.cond(
        is_due, run, lambda state: (state, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)), state
    )
