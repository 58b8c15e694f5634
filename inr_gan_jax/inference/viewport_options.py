"""Flags of the commands that draw a rectangle of the plane, and the viewport that they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.framing import chosen_rule, define_rule_flags
from inr_gan_jax.inference.options import MAX_PIXELS, check_continuous, check_size

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.ops.viewport import Viewport

flags.disclaim_key_flags()

# Positions are float32 on the device; farther away neighbouring pixels become one.
_MAX_DISTANCE = 1000.0
_WHOLE = {"top": 0.0, "left": 0.0, "height_extent": 1.0, "width_extent": 1.0}


def define_viewport_flags() -> None:
    """Defines the flags of size, rectangle and rule."""
    flags.DEFINE_integer("resolution", None, "Height in pixels; another name of --height.")
    flags.DEFINE_integer("height", None, "Height in pixels; follows from --width, or as trained.")
    flags.DEFINE_integer("width", None, "Width in pixels; follows from --height, or as trained.")
    flags.DEFINE_float("top", _WHOLE["top"], "y of the first row; the trained picture covers 0 to 1, downwards.")
    flags.DEFINE_float("left", _WHOLE["left"], "x of the first column; the trained picture covers 0 to 1.")
    flags.DEFINE_float("height_extent", _WHOLE["height_extent"], "Length covered downwards; 1: the trained picture.")
    flags.DEFINE_float("width_extent", _WHOLE["width_extent"], "Length covered to the right; 1: the trained picture.")
    define_rule_flags()


def chosen_viewport(loaded: LoadedGenerator, check: Callable[[int, int], object] = check_size) -> Viewport:
    """The viewport that the flags choose; where they say nothing, that of the trained picture.

    Args:
        loaded: the generator.
        check: refuses a (height, width) in pixels by `UserError`.

    Raises:
        UserError: if it is none, too large, too far away, or not possible with this network.
    """
    from inr_gan_jax.ops.viewport import Viewport

    values = flags.FLAGS.flag_values_dict()
    place = {name: values[name] for name in _WHOLE}
    _check_place(place)
    native = loaded.generator.native_viewport
    height, width = _size(loaded, place["height_extent"], place["width_extent"], values)
    check(height, width)
    if (height, width) == loaded.generator.size and place == _WHOLE and values["rule"] == "auto":
        return native
    check_continuous(loaded, "another viewport than the trained one")
    viewport = Viewport(height, width, **place, **chosen_rule(loaded.generator))
    covered = native.height * viewport.height_extent * native.width * viewport.width_extent
    if viewport.rule != "pointwise" and covered > MAX_PIXELS:
        raise UserError(
            f"the viewport covers {covered:,.0f} trained pixels, more than the {MAX_PIXELS:,} whose features are held "
            f"at once by the rule {viewport.rule!r}; --rule=pointwise holds none"
        )
    return viewport


def _check_place(place: dict[str, float]) -> None:
    for name, value in place.items():
        # Not a number compares as false.
        if not abs(value) <= _MAX_DISTANCE:
            raise UserError(f"{name} is {value}, expected at most {_MAX_DISTANCE:g} trained pictures")
    for name in ("height_extent", "width_extent"):
        if place[name] <= 0:
            raise UserError(f"{name} is {place[name]}, expected more than 0")


def _size(
    loaded: LoadedGenerator, height_extent: float, width_extent: float, values: dict[str, int | None]
) -> tuple[int, int]:
    """Pixels: as asked for; one side follows from the other so that pixels keep their shape."""
    native_height, native_width = loaded.generator.size
    height, width = values["height"], values["width"]
    if values["resolution"] is not None:
        if height is not None:
            raise UserError("--resolution and --height were both given, expected one of them")
        height = values["resolution"]
    shape = native_width * width_extent / (native_height * height_extent)
    if height is None:
        height = round(native_height * height_extent) if width is None else round(width / shape)
    return height, round(height * shape) if width is None else width
