"""Optax optimizers of the two networks."""

import dataclasses
from collections.abc import Hashable

import optax

from inr_gan_jax.array_types import Params
from inr_gan_jax.config import Config

# What turns a latent code into an image's own parameters, in the one and in the other model.
_HYPERNETWORKS = ("hypernetwork", "mapping_network")


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """The two optimizers of a run."""

    generator: optax.GradientTransformation
    discriminator: optax.GradientTransformation


def build_optimizers(config: Config) -> Optimizers:
    """Builds Adam with one learning rate for the hypernetwork, one for the INR and one for the discriminator.

    Where R1 has steps of its own, the discriminator takes (interval + 1) / interval times as many optimizer steps, and
    its learning rate and betas are corrected so that they act over the same number of images.

    Source: learning-rate groups arXiv 2011.12026; correction arXiv 1912.04958, appendix B (lazy regularisation).
    """
    settings, loss = config.optimizer, config.loss
    generator_correction = _lazy_correction(settings.generator_lazy_interval)
    per_group: dict[Hashable, optax.GradientTransformation] = {
        "hypernetwork": _adam(config, settings.hypernetwork_lr, generator_correction),
        "inr": _adam(config, settings.inr_lr, generator_correction),
    }
    correction = _lazy_correction(loss.r1_interval) if loss.r1_gamma > 0 else 1.0
    return Optimizers(
        generator=optax.multi_transform(per_group, _generator_groups),
        # Lazy R1 takes optimizer steps of its own, which the schedule has to count.
        discriminator=_adam(config, settings.discriminator_lr, correction, steps_per_batch=1 / correction),
    )


def _generator_groups(params: Params) -> dict[str, str]:
    """Names the learning-rate group of each top-level entry of the generator's parameters."""
    return {name: "hypernetwork" if name in _HYPERNETWORKS else "inr" for name in params}


def _lazy_correction(interval: int) -> float:
    """Share of the optimizer steps that are not on a regulariser taken every `interval` steps."""
    return interval / (interval + 1) if interval > 1 else 1.0


def _adam(
    config: Config, learning_rate: float, correction: float, steps_per_batch: float = 1.0
) -> optax.GradientTransformation:
    settings = config.optimizer
    rate: float | optax.Schedule = learning_rate * correction
    if settings.decay_kimg:
        decay_steps = round(config.training.steps(settings.decay_kimg) * steps_per_batch)
        rate = optax.cosine_decay_schedule(learning_rate * correction, decay_steps, settings.final_lr_fraction)
    return optax.adam(rate, b1=settings.beta1**correction, b2=settings.beta2**correction, eps=settings.epsilon)
