"""The viewport that a tool renders, from a size in pixels and the wishes of the user: one rule for all tools."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from absl import flags

from inr_gan_jax.cli.flags import MAX_PIXELS, check_continuous, check_size, define_side_flag
from inr_gan_jax.errors import UserError
from inr_gan_jax.ops.rules import Between, Beyond, DensifyRule

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Generator
    from inr_gan_jax.ops.viewport import Viewport

Fit = Literal["crop", "extend", "stretch"]


@dataclasses.dataclass(frozen=True)
class Area:
    """A rectangle of the plane by its borders, in units of the trained picture, which covers 0 to 1 both ways.

    Attributes:
        top: upper border.
        left: left border.
        height_extent: length downwards.
        width_extent: length to the right.
    """

    top: float = 0.0
    left: float = 0.0
    height_extent: float = 1.0
    width_extent: float = 1.0


TRAINED_AREA = Area()

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()


def framed(
    generator: Generator, size: tuple[int, int], fit: Fit = "crop", area: Area = TRAINED_AREA, **choices: Any
) -> Viewport:
    """The viewport of a picture of some size that shows the trained picture, or another area, or what fits.

    Args:
        generator: whose picture it is.
        size: (height, width) in pixels.
        fit: for another shape than that of the area: `crop` shows the largest part that fits inside, `extend` the
            whole and what lies beyond two of its borders, `stretch` the whole with pixels that are not square.
        area: to show.
        choices: `rule`, `tables`, `antialias` of the viewport; `rule` is the default of the network unless given.

    Returns:
        The viewport, in the middle of the area, such that pictures of several densities lie exactly over each other;
        the trained viewport itself for its own area, size and rule.
    """
    from inr_gan_jax.ops.viewport import Viewport

    native = generator.size
    extents = (area.height_extent, area.width_extent)
    choices.setdefault("rule", generator.default_rule)
    steps = (extents[0] / size[0], extents[1] / size[1])
    if fit != "stretch":
        # Trained pixels that one rendered pixel is long; equal both ways, as trained pixels are square.
        lengths = [native[axis] * steps[axis] for axis in (0, 1)]
        length = min(lengths) if fit == "crop" else max(lengths)
        steps = (length / native[0], length / native[1])
    height_extent, width_extent = steps[0] * size[0], steps[1] * size[1]
    view = Viewport(
        *size,
        top=area.top + (extents[0] - height_extent) / 2,
        left=area.left + (extents[1] - width_extent) / 2,
        height_extent=height_extent,
        width_extent=width_extent,
        **choices,
    )
    return view if size == native and area == TRAINED_AREA else view.centred_on(native)


def define_size_flags() -> None:
    """Defines --resolution, --height, --width, --fit and the flags of the rule."""
    define_side_flag("resolution", "Height and width in pixels; the trained size by default.")
    define_side_flag("height", "Height in pixels; follows from --width, or as trained.")
    define_side_flag("width", "Width in pixels; follows from --height, or as trained.")
    flags.DEFINE_enum(
        "fit",
        "crop",
        list(typing.get_args(Fit)),
        "For a size of another shape: crop shows the middle, extend also what lies beyond, stretch distorts.",
    )
    define_rule_flags()


def define_rule_flags() -> None:
    """Defines --rule, --table_between, --table_beyond and --antialias."""
    rules = ["auto", *typing.get_args(DensifyRule)]
    flags.DEFINE_enum("rule", "auto", rules, "How a multi-scale network is drawn denser (docs/continuous.md).")
    flags.DEFINE_enum("table_between", "nearest", list(typing.get_args(Between)), "Learned tables between pixels.")
    flags.DEFINE_enum("table_beyond", "reflect", list(typing.get_args(Beyond)), "Learned tables beyond the border.")
    flags.DEFINE_boolean("antialias", True, "Fade waves that a picture coarser than trained cannot hold.")


def chosen_size(loaded: LoadedGenerator, area: Area = TRAINED_AREA) -> tuple[int, int]:
    """What the size flags say: (height, width). A side that they leave open keeps pixels as square as trained ones.

    Raises:
        UserError: if the same side is given twice.
    """
    resolution, height, width = flags.FLAGS.resolution, flags.FLAGS.height, flags.FLAGS.width
    if resolution is not None:
        if height is not None or width is not None:
            raise UserError(
                f"--resolution={resolution} and --{'width' if height is None else 'height'} were both given; "
                "give --resolution alone, or --height, --width or both"
            )
        return resolution, resolution
    native_height, native_width = loaded.generator.size
    lengths = (native_height * area.height_extent, native_width * area.width_extent)
    if height is None and width is None:
        return round(lengths[0]), round(lengths[1])
    if height is None:
        return round(width * lengths[0] / lengths[1]), width
    return height, round(height * lengths[1] / lengths[0]) if width is None else width


def chosen_rule(generator: Generator) -> dict[str, Any]:
    """What the flags of the rule say, as arguments of a viewport."""
    from inr_gan_jax.ops.table_lookup import TableRule

    values = flags.FLAGS
    return {
        "rule": generator.default_rule if values.rule == "auto" else values.rule,
        "tables": TableRule(values.table_between, values.table_beyond),
        "antialias": values.antialias,
    }


def chosen_viewport(
    loaded: LoadedGenerator, area: Area = TRAINED_AREA, check: Callable[[int, int], object] = check_size
) -> Viewport:
    """What the flags of size, fit and rule say of an area, for every tool.

    Args:
        loaded: the generator.
        area: to show; `--fit` says what happens when the size has another shape.
        check: refuses a (height, width) in pixels by `UserError`.

    Raises:
        UserError: for an impossible size, or a network that renders its trained picture only when another is wanted.
    """
    generator = loaded.generator
    size = chosen_size(loaded, area)
    check(*size)
    if size == generator.size and area == TRAINED_AREA and flags.FLAGS.rule == "auto":
        return generator.native_viewport
    check_continuous(
        loaded, f"another picture than the trained one of {generator.size[0]} x {generator.size[1]} pixels"
    )
    viewport = framed(generator, size, flags.FLAGS.fit, area, **chosen_rule(generator))
    covered = generator.size[0] * viewport.height_extent * generator.size[1] * viewport.width_extent
    if viewport.rule != "pointwise" and covered > MAX_PIXELS:
        raise UserError(
            f"the viewport covers {covered:,.0f} trained pixels, expected at most {MAX_PIXELS:,}, whose features the "
            f"rule {viewport.rule!r} holds at once; --rule=pointwise holds none"
        )
    return viewport
