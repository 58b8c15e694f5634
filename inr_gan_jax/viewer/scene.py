"""The image to show and its densification rule, read from the query of a URL, every value bounded."""

import dataclasses
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import Space
from inr_gan_jax.inference.latent_paths import spaces_of
from inr_gan_jax.inference.latents import MAX_PSI, MAX_SEED
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.style_mixing import parse_layers
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.viewer.refusal import RefusalError

RULES: tuple[DensifyRule, ...] = typing.get_args(DensifyRule)
# Slider positions are rounded to a thousandth, so that neighbours share cached images.
_DECIMALS = 3
_MAX_VALUE_LENGTH = 200


@dataclasses.dataclass(frozen=True)
class ImageChoice:
    """One image.

    Attributes:
        seed: of the image.
        other: seed of a second image; None for one alone.
        share: of the second image, 0 to 1.
        space: of the path between them.
        psi: truncation.
        class_index: of a conditional generator.
        style: seed of the image that gives some layers; None for none.
        layers: which ones.
    """

    seed: int = 0
    other: int | None = None
    share: float = 0.0
    space: Space = "image"
    psi: float = 1.0
    class_index: int | None = None
    style: int | None = None
    layers: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """An image and its densification rule."""

    image: ImageChoice
    rule: DensifyRule


def parse_scene(query: Sequence[tuple[str, str]], loaded: LoadedGenerator) -> Scene:
    """Reads a scene.

    Args:
        query: keys and values; missing ones have defaults.
        loaded: the generator, which limits the choices.

    Raises:
        RefusalError: for an unknown key, a value out of bounds, or one that does not fit this generator.
    """
    values = as_mapping(query, ("seed", "to", "t", "space", "psi", "class", "style", "layers", "rule"))
    spaces = spaces_of(loaded)
    space = _one_of(values, "space", spaces, spaces[-1])
    share = number(values, "t", 0.0, 1.0, 0.0)
    image = ImageChoice(
        seed=_integer(values, "seed", MAX_SEED, 0),
        psi=_psi(values, loaded),
        class_index=_class(values, loaded),
        space=spaces[-1],
    )
    if "to" in values:
        # Without a second image neither the space nor the share matters.
        image = dataclasses.replace(image, other=_integer(values, "to", MAX_SEED, 0), share=share, space=space)
    if "style" in values:
        style = _integer(values, "style", MAX_SEED, 0)
        image = dataclasses.replace(image, style=style, layers=_layers(values.get("layers", ""), loaded))
    return Scene(image, _one_of(values, "rule", RULES, loaded.generator.default_rule))


def as_mapping(query: Sequence[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    """Converts a query to a mapping.

    Raises:
        RefusalError: for unknown or repeated keys, and for values that are too long.
    """
    values: dict[str, str] = {}
    for key, value in query:
        if key not in known:
            raise RefusalError(400, f"{_shown(key)} is not a key of this URL, expected some of {', '.join(known)}")
        if key in values:
            raise RefusalError(400, f"{key} is given twice")
        if len(value) > _MAX_VALUE_LENGTH:
            raise RefusalError(400, f"{key} has {len(value)} characters, expected at most {_MAX_VALUE_LENGTH}")
        values[key] = value
    return values


def number(values: Mapping[str, str], key: str, least: float, most: float, default: float) -> float:
    """Reads a number, rounded to three decimals.

    Raises:
        RefusalError: if it is not a number or out of bounds.
    """
    return round(exact_number(values, key, least, most, default), _DECIMALS)


def exact_number(values: Mapping[str, str], key: str, least: float, most: float, default: float) -> float:
    """Reads a number without rounding; raises as `number`."""
    value = _converted(float, values[key]) if key in values else default
    # NaN compares as false.
    if value is None or not least <= value <= most:
        raise RefusalError(400, f"{key} is {_shown(values[key])}, expected a number from {least:g} to {most:g}")
    return value + 0.0


def whole_number(text: str, name: str, least: int, most: int) -> int:
    """Reads a whole number.

    Raises:
        RefusalError: if it is not a whole number or out of bounds.
    """
    value = int(text) if re.fullmatch(r"-?[0-9]{1,10}", text) else None
    if value is None or not least <= value <= most:
        raise RefusalError(400, f"{name} is {_shown(text)}, expected a whole number from {least} to {most}")
    return value


def _integer(values: Mapping[str, str], key: str, most: int, default: int) -> int:
    return whole_number(values[key], key, 0, most) if key in values else default


def _psi(values: Mapping[str, str], loaded: LoadedGenerator) -> float:
    psi = number(values, "psi", -MAX_PSI, MAX_PSI, 1.0)
    if psi != 1 and loaded.w_avg is None:
        raise RefusalError(400, "psi must be 1, because this checkpoint has no mean of w")
    return psi


def _class(values: Mapping[str, str], loaded: LoadedGenerator) -> int | None:
    count = loaded.generator.c_dim
    if not count:
        if "class" in values:
            raise RefusalError(400, "class is given, but this network has no classes")
        return None
    return _integer(values, "class", count - 1, 0)


def _layers(text: str, loaded: LoadedGenerator) -> tuple[int, ...]:
    try:
        return parse_layers(text, loaded.generator)
    except UserError as error:
        count = loaded.generator.num_layers
        raise RefusalError(
            400, f"layers is {_shown(text)}, expected numbers and ranges from 0 to {count - 1}, such as 0-{count // 2}"
        ) from error


def _one_of(values: Mapping[str, str], key: str, choices: Sequence[Any], default: Any) -> Any:
    value = values.get(key, default)
    if value not in choices:
        raise RefusalError(400, f"{key} is {_shown(value)}, expected one of {', '.join(choices)}")
    return value


def _converted(convert: Callable[[str], float], text: str) -> float | None:
    try:
        value = convert(text)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _shown(text: str) -> str:
    """A value, shortened for a message."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
