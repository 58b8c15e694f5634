"""Inversion: finds the code or the INR whose image is nearest to a given one, by gradient descent."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from inr_gan_jax.array_types import Array, Variables, check_shape
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import CodeSpace
from inr_gan_jax.inference.code_file import Codes
from inr_gan_jax.inference.latents import modulations_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.perceptual_features import Features, feature_distance
from inr_gan_jax.models.generator import Generator, Modulation
from inr_gan_jax.progress import Progress

# Fractions of all steps: ramp-up and ramp-down of the learning rate, and the end of the noise.
_RAMP_UP, _RAMP_DOWN, _NOISE_RAMP = 0.05, 0.25, 0.75
_STEPS_PER_REPORT = 20
# Modulations are large; their scales are estimated from fewer images than the mean of w.
_SCALE_SAMPLES = 256
_SAMPLES_AT_ONCE = 1000


class ProjectionSettings(struct.PyTreeNode):
    """Settings of the inversion. Changing a number does not recompile.

    Attributes:
        space: to search. `w`: one intermediate code for all layers; `w+`: num_ws of them, one per layer (the same as
            `w` for the `paper` network, which has one); `modulation`: all arrays of the image as an INR.
        num_steps: of gradient descent.
        learning_rate: the highest one, in standard deviations of the code over sampled images.
        initial_noise: added to w at the start, as a fraction of the deviation of w (root of the sum over entries).
        pixel_weight: of the mean squared difference of pixels in [-1, 1].
        feature_weight: of the distance of features.
        num_samples: images that the mean and the deviation of w are estimated from.
        seed: of these images and of the noise.
    """

    space: CodeSpace = struct.field(pytree_node=False, default="w+")
    num_steps: int = 1000
    learning_rate: float = 0.1
    initial_noise: float = 0.05
    pixel_weight: float = 1.0
    feature_weight: float = 1.0
    num_samples: int = 10_000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Projection:
    """Result of an inversion.

    Attributes:
        codes: of the images.
        losses: [num_steps, count], before each step.
    """

    codes: Codes
    losses: np.ndarray


class Origin(NamedTuple):
    """Where the search starts and how far codes usually are from there.

    Attributes:
        code: a pytree whose arrays have a leading axis [count].
        scale: a pytree of numbers, or of arrays [count, 1, ...]; the deviation of an entry.
    """

    code: Any
    scale: Any


def project(
    loaded: LoadedGenerator,
    targets: np.ndarray | Array,
    names: Sequence[str],
    settings: ProjectionSettings,
    labels: Array | None = None,
    features: Features | None = None,
) -> Projection:
    """Finds the codes whose images at the trained size are nearest to given ones, all at the same time.

    The results do not depend on the other images, and the same call finds the same codes.

    Args:
        loaded: the generator.
        targets: [count, height, width, channels] of the trained size, in [-1, 1].
        names: of the images.
        settings: of the search.
        labels: [count, c_dim], one-hot, for a conditional generator.
        features: from images [batch, height, width, channels] in [-1, 1] to arrays [batch, ...]; None compares only
            pixels. A `jax.tree_util.Partial` keeps large weights out of the compiled program.

    Raises:
        UserError: if the loss is no longer finite.

    Source: arXiv 1912.04958, appendix D: mean of w, rate and noise over time. Differs: codes in units of their
    deviation, several spaces, pixels in addition to features, and the stored noise of the network.
    """
    generator = loaded.generator
    check_shape("targets", jnp.asarray(targets), (len(names), *generator.size, generator.channels))
    origin = find_origin(loaded, len(names), settings, labels)
    goal = _goal(jnp.asarray(targets), features)
    offset = jax.tree.map(jnp.zeros_like, origin.code)
    state = (jnp.int32(0), offset, _optimizer(settings).init(offset))
    step = functools.partial(_step, generator, settings)
    losses = []
    with Progress(f"projecting {len(names)} to {settings.space}", settings.num_steps, unit="steps") as progress:
        for index in range(settings.num_steps):
            state, loss = step(loaded.variables, origin, goal, state)
            losses.append(loss)
            if (index + 1) % _STEPS_PER_REPORT == 0 or index + 1 == settings.num_steps:
                _check_finite(loss, index)
                progress.add(index % _STEPS_PER_REPORT + 1)
    code = _code(origin, state[1])
    if settings.space == "modulation":
        codes = Codes(settings.space, tuple(names), code, None)
    else:
        ws = _all_layers(generator, code)
        codes = Codes(settings.space, tuple(names), modulations_of(loaded, ws), ws)
    return Projection(codes, np.stack(losses))


def find_origin(
    loaded: LoadedGenerator, count: int, settings: ProjectionSettings, labels: Array | None = None
) -> Origin:
    """The mean of w of sampled images, and for `modulation` the INR of that code.

    With labels, the sampled images are of each image's own class.
    """
    if labels is None:
        w, deviation = (jnp.stack([value] * count) for value in _statistics(loaded, settings, None))
    else:
        known: dict[int, tuple[Array, Array]] = {}
        classes = [int(index) for index in jnp.argmax(labels, axis=1)]
        for label, class_index in zip(labels, classes, strict=True):
            if class_index not in known:
                known[class_index] = _statistics(loaded, settings, label)
        w, deviation = (jnp.stack([known[index][part] for index in classes]) for part in (0, 1))
    generator = loaded.generator
    if settings.space == "modulation":
        ws = jnp.broadcast_to(w[:, None], (count, generator.num_ws, generator.w_dim))
        return Origin(modulations_of(loaded, ws), _modulation_scales(loaded, settings, labels))
    num_codes = generator.num_ws if settings.space == "w+" else 1
    code = jnp.broadcast_to(w[:, None], (count, num_codes, generator.w_dim))
    return Origin(code, deviation[:, None, None] / math.sqrt(generator.w_dim))


class _Goal(NamedTuple):
    targets: Array
    features: Any
    target_features: Any


def _goal(targets: Array, features: Features | None) -> _Goal:
    if features is None:
        return _Goal(targets, None, None)
    partial = features if isinstance(features, jax.tree_util.Partial) else jax.tree_util.Partial(features)
    return _Goal(targets, partial, jax.jit(lambda network, images: _as_list(network(images)))(partial, targets))


@functools.partial(jax.jit, static_argnums=0)
def _step(
    generator: Generator, settings: ProjectionSettings, variables: Variables, origin: Origin, goal: _Goal, state: Any
) -> tuple[Any, Array]:
    """Advances (index, offset, optimizer state) by a step; also returns the losses [count]."""
    index, offset, optimizer_state = state

    def total(offset: Any) -> tuple[Array, Array]:
        images = _render(generator, settings, variables, _noised(settings, _code(origin, offset), origin, index))
        losses = settings.pixel_weight * jnp.mean(jnp.square(images - goal.targets), axis=(1, 2, 3))
        if goal.features is not None:
            distance = feature_distance(_as_list(goal.features(images)), goal.target_features)
            losses = losses + settings.feature_weight * distance
        # The images share nothing, so the gradient of the sum is that of each.
        return jnp.sum(losses), losses

    gradient, losses = jax.grad(total, has_aux=True)(offset)
    updates, optimizer_state = _optimizer(settings).update(gradient, optimizer_state)
    return (index + 1, optax.apply_updates(offset, updates), optimizer_state), losses


def _optimizer(settings: ProjectionSettings) -> optax.GradientTransformation:
    return optax.adam(lambda count: learning_rate(settings, jnp.asarray(count)), b1=0.9, b2=0.999)


def learning_rate(settings: ProjectionSettings, index: Array | int) -> Array:
    """Learning rate of a step: a linear rise, a plateau, and half a cosine down."""
    share = jnp.asarray(index) / settings.num_steps
    fall = 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.minimum(1, (1 - share) / _RAMP_DOWN))
    return settings.learning_rate * fall * jnp.minimum(1, share / _RAMP_UP)


def _noised(settings: ProjectionSettings, code: Any, origin: Origin, index: Array | int) -> Any:
    """Adds fading noise to w; the same for all images, so that none depends on its neighbours."""
    if settings.space == "modulation":
        return code
    fade = jnp.square(jnp.maximum(0, 1 - jnp.asarray(index) / settings.num_steps / _NOISE_RAMP))
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(settings.seed), index), code.shape[1:])
    strength = settings.initial_noise * math.sqrt(code.shape[-1]) * fade
    return code + strength * origin.scale * noise[None]


def _code(origin: Origin, offset: Any) -> Any:
    return jax.tree.map(lambda code, scale, offset: code + scale * offset, origin.code, origin.scale, offset)


def _render(generator: Generator, settings: ProjectionSettings, variables: Variables, code: Any) -> Array:
    if settings.space != "modulation":
        return generator.batch_synthesis(variables, _all_layers(generator, code))
    view = generator.native_viewport
    return jax.vmap(lambda modulation: generator.render(variables, modulation, view))(code)


def _all_layers(generator: Generator, code: Array) -> Array:
    """Codes [count, 1 or num_ws, w_dim] as ws [count, num_ws, w_dim]."""
    return jnp.broadcast_to(code, (len(code), generator.num_ws, generator.w_dim))


def _statistics(loaded: LoadedGenerator, settings: ProjectionSettings, label: Array | None) -> tuple[Array, Array]:
    """Mean [w_dim] of w over sampled images, and the root of the mean squared distance from it."""
    codes = jax.random.normal(jax.random.key(settings.seed), (settings.num_samples, loaded.generator.z_dim))
    mapping = jax.jit(lambda z, c: loaded.generator.batch_mapping(loaded.variables, z, c)[:, 0])
    parts = []
    for start in range(0, len(codes), _SAMPLES_AT_ONCE):
        z = codes[start : start + _SAMPLES_AT_ONCE]
        parts.append(mapping(z, None if label is None else jnp.stack([label] * len(z))))
    w = jnp.concatenate(parts)
    mean = jnp.mean(w, axis=0)
    return mean, jnp.sqrt(jnp.mean(jnp.sum(jnp.square(w - mean[None]), axis=1)))


def _modulation_scales(loaded: LoadedGenerator, settings: ProjectionSettings, labels: Array | None) -> Modulation:
    """The deviation of each array of a modulation over sampled images: one number for all its entries."""
    count = min(settings.num_samples, _SCALE_SAMPLES)
    z = jax.random.normal(jax.random.key(settings.seed), (count, loaded.generator.z_dim))
    c = None if labels is None else labels[jnp.arange(count) % len(labels)]

    def deviation(leaf: Array) -> Array:
        return jnp.sqrt(jnp.mean(jnp.square(leaf - jnp.mean(leaf, axis=0, keepdims=True))))

    modulations = modulations_of(loaded, loaded.generator.batch_mapping(loaded.variables, z, c))
    return jax.tree.map(deviation, modulations)


def _as_list(features: Any) -> list[Array]:
    return [features] if isinstance(features, jax.Array) else list(features)


def _check_finite(loss: Array, index: int) -> None:
    if not np.isfinite(loss).all():
        raise UserError(f"the loss is not finite after {index + 1} steps, lower --learning_rate or use other features")
