"""Which rectangle of the plane a tool draws, from a size in pixels and the wishes of the user."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, Literal

from absl import flags

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.options import check_continuous, check_size
from inr_gan_jax.ops.rules import Between, Beyond, DensifyRule

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Generator
    from inr_gan_jax.ops.viewport import Viewport

Fit = Literal["crop", "extend", "stretch"]

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()


def natural_rule(generator: Generator) -> DensifyRule:
    """The rule to draw a network denser by, unless another is asked for.

    `pointwise` for networks trained like that; `all` for those trained on nested lattices, because it keeps to each
    block the neighbourhood that it was trained with (docs/continuous.md has the pictures).
    """
    return "pointwise" if generator.native_viewport.rule == "pointwise" else "all"


def framed(generator: Generator, size: tuple[int, int], fit: Fit = "crop", **choices: Any) -> Viewport:
    """The viewport of a picture of some size that shows the trained square, or what fits.

    Args:
        generator: whose picture it is.
        size: (height, width) in pixels.
        fit: for another shape than the trained one: `crop` shows the largest part that fits inside, `extend` the
            whole and what lies beyond two of its borders, `stretch` the whole with pixels that are not square.
        choices: `rule`, `tables`, `antialias` of the viewport; `rule` is `natural_rule` by default.

    Returns:
        The viewport, in the middle of the trained picture and laid over it pixel by pixel; the trained viewport itself
        for its own size and rule.
    """
    from inr_gan_jax.ops.viewport import Viewport

    native = generator.size
    choices.setdefault("rule", natural_rule(generator))
    steps = (1 / size[0], 1 / size[1])
    if fit != "stretch":
        # Trained pixels that one drawn pixel is long; equal both ways, as trained pixels are taken to be square.
        lengths = [native[axis] / size[axis] for axis in (0, 1)]
        length = min(lengths) if fit == "crop" else max(lengths)
        steps = (length / native[0], length / native[1])
    height_extent, width_extent = steps[0] * size[0], steps[1] * size[1]
    view = Viewport(
        *size,
        top=(1 - height_extent) / 2,
        left=(1 - width_extent) / 2,
        height_extent=height_extent,
        width_extent=width_extent,
        **choices,
    )
    return view if size == native else view.centred_on(native)


def define_size_flags() -> None:
    """Defines --resolution, --height, --width, --fit and the flags of the rule."""
    flags.DEFINE_integer("resolution", None, "Height and width in pixels; the trained size by default.")
    flags.DEFINE_integer("height", None, "Height in pixels; needs --width.")
    flags.DEFINE_integer("width", None, "Width in pixels; needs --height.")
    flags.DEFINE_enum(
        "fit",
        "crop",
        list(typing.get_args(Fit)),
        "For another shape than the trained one: crop shows the middle, extend also what lies beyond, stretch bends.",
    )
    define_rule_flags()


def define_rule_flags() -> None:
    """Defines --rule, --table_between, --table_beyond and --antialias."""
    rules = ["auto", *typing.get_args(DensifyRule)]
    flags.DEFINE_enum("rule", "auto", rules, "How a multi-scale network is drawn denser (docs/continuous.md).")
    flags.DEFINE_enum("table_between", "nearest", list(typing.get_args(Between)), "Learned tables between pixels.")
    flags.DEFINE_enum("table_beyond", "reflect", list(typing.get_args(Beyond)), "Learned tables beyond the border.")
    flags.DEFINE_boolean("antialias", True, "Fade waves that a picture coarser than trained cannot hold.")


def chosen_size(loaded: LoadedGenerator) -> tuple[int, int]:
    """What the size flags say: (height, width).

    Raises:
        UserError: for a size of nothing, of too much, or given by halves.
    """
    resolution, height, width = flags.FLAGS.resolution, flags.FLAGS.height, flags.FLAGS.width
    if (height is None) != (width is None) or (resolution is not None and height is not None):
        raise UserError("give either --resolution, or --height and --width together")
    if resolution is not None:
        height = width = resolution
    return loaded.generator.size if height is None else check_size(height, width)


def chosen_rule(generator: Generator) -> dict[str, Any]:
    """What the flags of the rule say, as arguments of a viewport."""
    from inr_gan_jax.ops.table_lookup import TableRule

    values = flags.FLAGS
    return {
        "rule": natural_rule(generator) if values.rule == "auto" else values.rule,
        "tables": TableRule(values.table_between, values.table_beyond),
        "antialias": values.antialias,
    }


def chosen_viewport(loaded: LoadedGenerator) -> Viewport:
    """What the flags of size and rule say.

    Raises:
        UserError: for an impossible size, or a network that draws its trained picture only and another one is wished.
    """
    size = chosen_size(loaded)
    if size == loaded.generator.size and flags.FLAGS.rule == "auto":
        return loaded.generator.native_viewport
    check_continuous(loaded, f"a picture of {size[0]} x {size[1]} pixels")
    return framed(loaded.generator, size, flags.FLAGS.fit, **chosen_rule(loaded.generator))
