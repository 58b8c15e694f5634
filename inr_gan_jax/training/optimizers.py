"""Optax optimizers of the two networks."""

import dataclasses
from collections.abc import Hashable

import jax
import jax.numpy as jnp
import optax

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.build import build_generator

# Replaces an infinite gradient.
_LARGEST_GRADIENT = 1e5


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """The two optimizers of a run."""

    generator: optax.GradientTransformation
    discriminator: optax.GradientTransformation


def build_optimizers(config: Config) -> Optimizers:
    """Builds Adam with a learning rate per group of the generator, and one for the discriminator.

    A lazy regulariser multiplies the optimizer steps of a network by (interval + 1) / interval, so its learning rate
    and betas are corrected to act over the same number of images.

    Source: learning-rate groups arXiv 2011.12026; correction arXiv 1912.04958, appendix B (lazy regularisation).
    """
    settings, loss = config.optimizer, config.loss
    correction = _lazy_correction(loss.pl_interval)
    # The schedule counts optimizer steps, those of path lengths included.
    per_batch = 1 / correction if loss.pl_weight else 1.0
    rates = {
        "class_embedding": settings.class_embedding_lr,
        "mapping": settings.mapping_lr,
        "connector": settings.connector_lr,
        "inr": settings.inr_lr,
    }
    per_group: dict[Hashable, optax.GradientTransformation] = {
        name: _adam(config, rate, correction, per_batch) for name, rate in rates.items()
    }
    correction = _lazy_correction(loss.r1_interval) if loss.has_penalty else 1.0
    return Optimizers(
        generator=optax.multi_transform(per_group, build_generator(config).parameter_groups),
        discriminator=_adam(config, settings.discriminator_lr, correction, 1 / correction),
    )


def sanitize_gradients(gradients: Params) -> tuple[Params, Array]:
    """Replaces NaN gradients by 0 and infinite ones by 1e5, and counts them.

    Source: the training loop of arXiv 2006.06676.
    """
    counts = [jnp.sum(~jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradients)]
    finite = jax.tree.map(
        lambda leaf: jnp.nan_to_num(leaf, nan=0.0, posinf=_LARGEST_GRADIENT, neginf=-_LARGEST_GRADIENT), gradients
    )
    return finite, jnp.sum(jnp.stack(counts))


def _lazy_correction(interval: int) -> float:
    """Share of the optimizer steps that are not those of a regulariser with this interval."""
    return interval / (interval + 1) if interval > 1 else 1.0


def _adam(
    config: Config, learning_rate: float, correction: float, steps_per_batch: float
) -> optax.GradientTransformation:
    settings = config.optimizer
    rate: float | optax.Schedule = learning_rate * correction
    if settings.decay_kimg:
        decay_steps = round(config.training.steps(settings.decay_kimg) * steps_per_batch)
        rate = optax.cosine_decay_schedule(learning_rate * correction, decay_steps, settings.final_lr_fraction)
    beta1, beta2 = settings.beta1**correction, settings.beta2**correction
    if beta1:
        return optax.adam(rate, b1=beta1, b2=beta2, eps=settings.epsilon)
    # With beta1 = 0 the mean of the gradients is the gradient; this needs no memory for it.
    scale = optax.scale_by_rms(beta2, settings.epsilon, eps_in_sqrt=False, bias_correction=True)
    return optax.chain(scale, optax.scale_by_learning_rate(rate))
