"""The augmentation pipeline of ADA: what it may do, its random numbers, and its execution."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array, PRNGKey
from inr_gan_jax.augment.geometry import compose, rotation, scaling, translation, warp
from inr_gan_jax.augment.transforms import NUM_BANDS, ColourChange, add_noise, amplify_bands, cut_out, recolour

_BLIT = ("xflip", "rotate90", "xint")
_GEOM = ("scale", "rotate", "aniso", "xfrac")
_COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")


@dataclasses.dataclass(frozen=True)
class AugmentSettings:
    """Which augmentations are on and how strong they are.

    Each augmentation has a multiplier: it happens to an image with probability multiplier * p. 0 switches it off, 1 is
    what the paper uses.

    Attributes:
        xflip, rotate90, xint: multipliers of pixel blitting: mirroring, quarter turns, translation by whole pixels.
        xint_max: largest translation by whole pixels, as a fraction of the image.
        scale, rotate, aniso, xfrac: multipliers of isotropic scaling, rotation (before or after the anisotropic
            scaling), anisotropic scaling, fractional translation.
        scale_std: of log2 of the isotropic scale.
        rotate_max: largest angle, 1 for half a turn to either side.
        aniso_std: of log2 of the anisotropic scale.
        xfrac_std: of the fractional translation, as a fraction of the image.
        brightness, contrast, lumaflip, hue, saturation: multipliers of the changes of colour.
        brightness_std: of the offset.
        contrast_std: of log2 of the contrast.
        hue_max: largest angle, 1 for half a turn to either side.
        saturation_std: of log2 of the saturation.
        imgfilter: multiplier of image-space filtering.
        imgfilter_bands: further multipliers of its bands, from the lowest up.
        imgfilter_std: of log2 of the amplification of a band.
        noise, cutout: multipliers of additive noise and of cutout.
        noise_std: of the standard deviation of the noise.
        cutout_size: side of the rectangle that is cut out, as a fraction of the image.
        shared_margin: extend all images of a batch beyond their borders by what the farthest transform needs, as the
            official code does, whose images thereby influence each other; see `geometry.warp`.

    Source: arXiv 2006.06676, appendix B.
    """

    xflip: float = 0.0
    rotate90: float = 0.0
    xint: float = 0.0
    xint_max: float = 0.125
    scale: float = 0.0
    rotate: float = 0.0
    aniso: float = 0.0
    xfrac: float = 0.0
    scale_std: float = 0.2
    rotate_max: float = 1.0
    aniso_std: float = 0.2
    xfrac_std: float = 0.125
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    brightness_std: float = 0.2
    contrast_std: float = 0.5
    hue_max: float = 1.0
    saturation_std: float = 1.0
    imgfilter: float = 0.0
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    imgfilter_std: float = 1.0
    noise: float = 0.0
    cutout: float = 0.0
    noise_std: float = 0.1
    cutout_size: float = 0.5
    shared_margin: bool = False

    def __post_init__(self) -> None:
        if len(self.imgfilter_bands) != NUM_BANDS:
            raise ValueError(f"imgfilter_bands has {len(self.imgfilter_bands)} entries, expected {NUM_BANDS}")
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            for value in values if isinstance(values, tuple) else (values,):
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{field.name} is {values}, expected finite and at least 0")

    @property
    def moves(self) -> bool:
        """Whether any geometric augmentation is on."""
        return any(getattr(self, name) for name in (*_BLIT, *_GEOM))

    @property
    def recolours(self) -> bool:
        """Whether any change of colour is on."""
        return any(getattr(self, name) for name in _COLOR)


def _switched_on(*names: str) -> AugmentSettings:
    return dataclasses.replace(AugmentSettings(), **dict.fromkeys(names, 1.0))


# The pipelines of the paper by the names of the official code; `bgc` is what both use where nothing else is said.
PIPELINES: dict[str, AugmentSettings] = {
    "blit": _switched_on(*_BLIT),
    "geom": _switched_on(*_GEOM),
    "color": _switched_on(*_COLOR),
    "filter": _switched_on("imgfilter"),
    "noise": _switched_on("noise"),
    "cutout": _switched_on("cutout"),
    "bg": _switched_on(*_BLIT, *_GEOM),
    "bgc": _switched_on(*_BLIT, *_GEOM, *_COLOR),
    "bgcf": _switched_on(*_BLIT, *_GEOM, *_COLOR, "imgfilter"),
    "bgcfn": _switched_on(*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise"),
    "bgcfnc": _switched_on(*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise", "cutout"),
}


class RandomInput(struct.PyTreeNode):
    """The random numbers of one augmentation, before settings and p are applied.

    Attributes:
        strength: [batch, ...], uniform in [0, 1) or standard normal, see `_SOURCES`.
        chance: [batch], or [batch, NUM_BANDS] for the filter, uniform in [0, 1); the augmentation happens where it is
            below its probability.
        pixels: [batch, height, width, channels], standard normal; only for the noise.
    """

    strength: Array
    chance: Array
    pixels: Array | None = None


RandomInputs = Mapping[str, RandomInput]


@dataclasses.dataclass(frozen=True)
class _Source:
    """Distribution and shape of the random numbers of one augmentation.

    Attributes:
        multiplier: field of the settings that enables it.
        is_normal: the strength is standard normal, else uniform.
        strengths, chances: shape per image.
    """

    multiplier: str
    is_normal: bool
    strengths: tuple[int, ...] = ()
    chances: tuple[int, ...] = ()


# In the order of application.
_SOURCES = {
    "xflip": _Source("xflip", is_normal=False),
    "rotate90": _Source("rotate90", is_normal=False),
    "xint": _Source("xint", is_normal=False, strengths=(2,)),
    "scale": _Source("scale", is_normal=True),
    "pre_rotation": _Source("rotate", is_normal=False),
    "aniso": _Source("aniso", is_normal=True),
    "post_rotation": _Source("rotate", is_normal=False),
    "xfrac": _Source("xfrac", is_normal=True, strengths=(2,)),
    "brightness": _Source("brightness", is_normal=True),
    "contrast": _Source("contrast", is_normal=True),
    "lumaflip": _Source("lumaflip", is_normal=False),
    "hue": _Source("hue", is_normal=False),
    "saturation": _Source("saturation", is_normal=True),
    "imgfilter": _Source("imgfilter", is_normal=True, strengths=(NUM_BANDS,), chances=(NUM_BANDS,)),
    "noise": _Source("noise", is_normal=True),
    "cutout": _Source("cutout", is_normal=False, strengths=(2,)),
}


def sample_inputs(
    settings: AugmentSettings, key: PRNGKey, batch_size: int, image_shape: tuple[int, int, int]
) -> RandomInputs:
    """Samples the random numbers of one batch.

    The numbers of an augmentation do not depend on which others are on.

    Args:
        settings: of the pipeline.
        key: random key.
        batch_size: images in the batch.
        image_shape: height, width, channels.

    Returns:
        The numbers of every enabled augmentation, by name; all leaves are float32 and begin with the batch axis.
    """
    uniform_key, normal_key, chance_key, pixel_key = jax.random.split(key, 4)
    # Sampled at once and split, because one generator each would cost seconds of compilation.
    shape = (batch_size, sum(math.prod(source.strengths) for source in _SOURCES.values()))
    uniform = jax.random.uniform(uniform_key, shape, jnp.float32)
    normal = jax.random.normal(normal_key, shape, jnp.float32)
    chance = jax.random.uniform(chance_key, shape, jnp.float32)
    inputs, end = {}, 0
    for name, source in _SOURCES.items():
        start, end = end, end + math.prod(source.strengths)
        if getattr(settings, source.multiplier):
            strength = (normal if source.is_normal else uniform)[:, start:end]
            inputs[name] = RandomInput(
                strength=strength.reshape(batch_size, *source.strengths),
                chance=chance[:, start : start + math.prod(source.chances)].reshape(batch_size, *source.chances),
            )
    if "noise" in inputs:
        pixels = jax.random.normal(pixel_key, (batch_size, *image_shape), jnp.float32)
        inputs["noise"] = inputs["noise"].replace(pixels=pixels)
    return inputs


def augment(settings: AugmentSettings, images: Array, inputs: RandomInputs, p: Array) -> Array:
    """Augments each image of a batch independently.

    Affine in the images, so that gradients of any order pass. With p = 0 it is the identity, to the rounding of the
    filters: as in the official code, enabled augmentations run at their neutral strength.

    Args:
        settings: of the pipeline.
        images: [batch, height, width, channels], in [-1, 1]; 1 or 3 channels where colours change.
        inputs: of `sample_inputs` with the same settings.
        p: scalar, overall probability, at least 0.

    Returns:
        [batch, height, width, channels] in the type of the images; computed in float32 at least.

    Source: arXiv 2006.06676, appendix B.
    """
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    _, height, width, _ = images.shape
    augmented = images.astype(dtype)
    inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), inputs)
    chosen = _Choice(settings, inputs, jnp.asarray(p, dtype), len(images))
    if settings.moves:
        augmented = warp(augmented, _inverse_transform(chosen, height, width), settings.shared_margin)
    if settings.recolours:
        augmented = recolour(augmented, _colour_change(chosen))
    if settings.imgfilter:
        augmented = amplify_bands(augmented, _band_factors(chosen))
    if settings.noise:
        augmented = add_noise(augmented, *_noise(chosen))
    if settings.cutout:
        augmented = cut_out(augmented, *_rectangle(chosen))
    return augmented.astype(images.dtype)


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Selects, per image, the sampled change or none.

    Attributes:
        settings: of the pipeline.
        inputs: random numbers.
        p: scalar, overall probability; its type is that of the parameters.
        batch_size: number of images.
    """

    settings: AugmentSettings
    inputs: RandomInputs
    p: Array
    batch_size: int

    def __call__(
        self, name: str, change: Callable[[Array], Array], neutral: float, probability: Array | None = None
    ) -> Array:
        """The parameter of one augmentation for each image.

        Args:
            name: of the augmentation.
            change: maps the sampled strength to the parameter.
            neutral: parameter of an unchanged image.
            probability: scalar or like the chances; None: the multiplier times p.

        Returns:
            [batch, ...], like the strength.
        """
        source = _SOURCES[name]
        multiplier = getattr(self.settings, source.multiplier)
        if not multiplier:
            return jnp.full((self.batch_size, *source.strengths), neutral, self.p.dtype)
        sampled = self.inputs[name]
        happens = sampled.chance < (multiplier * self.p if probability is None else probability)
        happens = happens.reshape(happens.shape + (1,) * (sampled.strength.ndim - happens.ndim))
        return jnp.where(happens, change(sampled.strength), neutral)


def _inverse_transform(chosen: _Choice, height: int, width: int) -> Array:
    """[batch, 3, 3]: from a position in the augmented image to the one in the given image."""
    settings = chosen.settings
    flip = 1 - 2 * chosen("xflip", _coin, 0)
    quarters = chosen("rotate90", lambda strength: jnp.floor(4 * strength), 0)
    size = jnp.asarray([width, height], chosen.p.dtype)[None, :]
    steps = jnp.round(chosen("xint", lambda strength: settings.xint_max * _symmetric(strength), 0) * size)
    scale = chosen("scale", lambda strength: jnp.exp2(settings.scale_std * strength), 1)
    # Rotating before or after the anisotropic scaling: so that either happens with probability rotate * p.
    once = 1 - jnp.sqrt(jnp.clip(1 - settings.rotate * chosen.p, 0, 1))
    before, after = (
        chosen(name, lambda strength: jnp.pi * settings.rotate_max * _symmetric(strength), 0, once)
        for name in ("pre_rotation", "post_rotation")
    )
    stretch = chosen("aniso", lambda strength: jnp.exp2(settings.aniso_std * strength), 1)
    shift = chosen("xfrac", lambda strength: settings.xfrac_std * strength, 0) * size
    matrices = (
        scaling(flip, jnp.ones_like(flip)),
        rotation(jnp.pi / 2 * quarters),
        translation(-steps[:, 0], -steps[:, 1]),
        scaling(1 / scale, 1 / scale),
        rotation(before),
        scaling(1 / stretch, stretch),
        rotation(after),
        translation(-shift[:, 0], -shift[:, 1]),
    )
    return functools.reduce(compose, matrices)


def _colour_change(chosen: _Choice) -> ColourChange:
    settings = chosen.settings
    return ColourChange(
        brightness=chosen("brightness", lambda strength: settings.brightness_std * strength, 0),
        contrast=chosen("contrast", lambda strength: jnp.exp2(settings.contrast_std * strength), 1),
        luma_flip=chosen("lumaflip", _coin, 0),
        hue=chosen("hue", lambda strength: jnp.pi * settings.hue_max * _symmetric(strength), 0),
        saturation=chosen("saturation", lambda strength: jnp.exp2(settings.saturation_std * strength), 1),
    )


def _band_factors(chosen: _Choice) -> Array:
    """[batch, NUM_BANDS], amplification of each band."""
    settings = chosen.settings
    bands = jnp.asarray(settings.imgfilter_bands, chosen.p.dtype)[None, :]
    probability = settings.imgfilter * chosen.p * bands
    return chosen("imgfilter", lambda strength: jnp.exp2(settings.imgfilter_std * strength), 1, probability)


def _noise(chosen: _Choice) -> tuple[Array, Array]:
    """Standard deviation of each image, [batch], and the noise at deviation 1."""
    pixels = chosen.inputs["noise"].pixels
    assert pixels is not None, "the inputs of the noise have pixels"
    return chosen("noise", lambda strength: chosen.settings.noise_std * jnp.abs(strength), 0), pixels


def _rectangle(chosen: _Choice) -> tuple[Array, Array]:
    """Centre, [batch, 2] as (x, y), and side, [batch], of the cutout, as fractions of the image."""
    side = chosen("cutout", lambda strength: jnp.full_like(strength, chosen.settings.cutout_size), 0)
    return chosen.inputs["cutout"].strength, side[:, 0]


def _coin(strength: Array) -> Array:
    """0 or 1 from numbers in [0, 1)."""
    return jnp.floor(2 * strength)


def _symmetric(strength: Array) -> Array:
    """[-1, 1) from [0, 1)."""
    return 2 * strength - 1
