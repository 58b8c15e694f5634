"""Optax optimizers of the two networks."""

import dataclasses
from collections.abc import Hashable

import optax

from inr_gan_jax.array_types import Params
from inr_gan_jax.config import Config


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
    settings = config.optimizer
    per_group: dict[Hashable, optax.GradientTransformation] = {
        "hypernetwork": _adam(config, settings.hypernetwork_lr),
        "inr": _adam(config, settings.inr_lr),
    }
    return Optimizers(
        generator=optax.multi_transform(per_group, _generator_groups),
        discriminator=_adam(config, settings.discriminator_lr, lazy_interval=config.loss.r1_interval),
    )


def _generator_groups(params: Params) -> dict[str, str]:
    """Names the learning-rate group of each top-level entry of the generator's parameters."""
    return {name: "hypernetwork" if name == "hypernetwork" else "inr" for name in params}


def _adam(config: Config, learning_rate: float, lazy_interval: int = 1) -> optax.GradientTransformation:
    settings, steps_per_step, correction = config.optimizer, 1.0, 1.0
    if lazy_interval > 1 and config.loss.r1_gamma > 0:
        steps_per_step = (lazy_interval + 1) / lazy_interval
        correction = 1 / steps_per_step
    rate: float | optax.Schedule = learning_rate * correction
    if settings.decay_kimg:
        decay_steps = round(config.training.steps(settings.decay_kimg) * steps_per_step)
        rate = optax.cosine_decay_schedule(learning_rate * correction, decay_steps, settings.final_lr_fraction)
    return optax.adam(rate, b1=settings.beta1**correction, b2=settings.beta2**correction, eps=settings.epsilon)
