"""DiffAugment, the lightweight alternative to ADA: fixed policies, no controller."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from inr_gan_jax.array_types import Array, PRNGKey
from inr_gan_jax.augment.pipeline import RandomInput, RandomInputs

Policy = Literal["color", "translation", "cutout"]

# Random numbers per image.
_STRENGTHS: dict[Policy, int] = {"color": 3, "translation": 2, "cutout": 2}


@dataclasses.dataclass(frozen=True)
class DifferentiableSettings:
    """Which policies are on and how strong they are.

    Attributes:
        policies: applied in this order; `color` changes brightness, saturation and contrast, `translation` moves the
            image, `cutout` sets a rectangle to zero.
        translation_ratio: largest translation, as a fraction of the image.
        cutout_ratio: side of the rectangle, as a fraction of the image.

    Source: arXiv 2006.10738 §3.2 and its code.
    """

    policies: tuple[Policy, ...] = ("color", "translation", "cutout")
    translation_ratio: float = 0.125
    cutout_ratio: float = 0.5

    def __post_init__(self) -> None:
        for policy in self.policies:
            if policy not in typing.get_args(Policy):
                raise ValueError(f"policy is {policy!r}, expected one of {', '.join(typing.get_args(Policy))}")
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"policies are {', '.join(self.policies)}, expected each at most once")
        for name in ("translation_ratio", "cutout_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")


def sample_inputs(
    settings: DifferentiableSettings, key: PRNGKey, batch_size: int, image_shape: tuple[int, int, int]
) -> RandomInputs:
    """Samples the random numbers of one batch, as `pipeline.sample_inputs` does.

    Args:
        settings: of the policies.
        key: random key.
        batch_size: images in the batch.
        image_shape: height, width, channels; the numbers do not depend on it.

    Returns:
        The numbers of every policy, uniform in [0, 1), by name; all leaves are float32 and begin with the batch axis.
    """
    del image_shape
    numbers = jax.random.uniform(key, (batch_size, sum(_STRENGTHS.values()) + len(_STRENGTHS)), jnp.float32)
    inputs, end = {}, 0
    for policy, count in _STRENGTHS.items():
        start, end = end, end + count + 1
        if policy in settings.policies:
            inputs[policy] = RandomInput(strength=numbers[:, start : end - 1], chance=numbers[:, end - 1])
    return inputs


def augment(settings: DifferentiableSettings, images: Array, inputs: RandomInputs, p: Array) -> Array:
    """Augments each image of a batch independently.

    Args:
        settings: of the policies.
        images: [batch, height, width, channels], in [-1, 1].
        inputs: of `sample_inputs` with the same settings.
        p: scalar, probability of each policy for each image; 1 in the paper, 0 is the identity.

    Returns:
        [batch, height, width, channels] in the type of the images; computed in float32 at least.
    """
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    augmented = images.astype(dtype)
    for policy in settings.policies:
        chosen = inputs[policy]
        changed = _CHANGES[policy](settings, augmented, chosen.strength.astype(dtype))
        augmented = jnp.where(_per_image(chosen.chance < p), changed, augmented)
    return augmented.astype(images.dtype)


def _recolour(settings: DifferentiableSettings, images: Array, strength: Array) -> Array:
    """Adds up to 0.5 to all channels, then scales the colourfulness by 0 to 2 and the contrast by 0.5 to 1.5."""
    del settings
    brightness, saturation, contrast = (_per_image(strength[:, place]) for place in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(axis=3, keepdims=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(settings: DifferentiableSettings, images: Array, strength: Array) -> Array:
    """Moves by whole pixels; zeros come in from beyond the border."""
    height, width, channels = images.shape[1:]
    rows, columns = (_rounded(size * settings.translation_ratio) for size in (height, width))
    padded = jnp.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)))

    def window(image: Array, row: Array, column: Array) -> Array:
        return lax.dynamic_slice(image, (row, column, jnp.zeros_like(row)), (height, width, channels))

    return jax.vmap(window)(padded, _integers(strength[:, 0], 2 * rows + 1), _integers(strength[:, 1], 2 * columns + 1))


def _cut_out(settings: DifferentiableSettings, images: Array, strength: Array) -> Array:
    """Sets a rectangle to zero, whose centre may lie anywhere in the image."""
    inside = []
    for axis, size in enumerate(images.shape[1:3]):
        length = _rounded(size * settings.cutout_ratio)
        # With an even length the centre lies between two pixels, in one place more than there are pixels.
        start = _integers(strength[:, axis], size + 1 - length % 2) - length // 2
        place = jnp.arange(size)[None, :] - start[:, None]
        inside.append((place >= 0) & (place < length))
    cut = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(cut, 0, images)


_CHANGES: dict[Policy, Callable[[DifferentiableSettings, Array, Array], Array]] = {
    "color": _recolour,
    "translation": _translate,
    "cutout": _cut_out,
}


def _integers(strength: Array, count: int) -> Array:
    """Uniform integers from 0 to count - 1, from numbers in [0, 1)."""
    return jnp.floor(strength * count).astype(jnp.int32)


def _rounded(size: float) -> int:
    return int(size + 0.5)


def _per_image(values: Array) -> Array:
    return values[:, None, None, None]
