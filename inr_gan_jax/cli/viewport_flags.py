"""Flags of size, densification rule and area, and the viewport that they choose."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import flags

from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.flags import define_side_flag
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import MAX_PIXELS, Fit
from inr_gan_jax.ops.rules import Between, Beyond, DensifyRule

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.inference.viewports import Area
    from inr_gan_jax.models.generator import Generator
    from inr_gan_jax.ops.viewport import Viewport

flags.disclaim_key_flags()

# Positions are float32 on the device; farther away, or closer together, neighbouring pixels coincide.
_MAX_DISTANCE, _MIN_EXTENT = 1000, 1e-6


def define_rule_flag(meaning: str) -> None:
    """Defines --rule."""
    flags.DEFINE_enum("rule", "auto", ["auto", *typing.get_args(DensifyRule)], meaning)


def define_rule_flags() -> None:
    """Defines --rule, --table_between, --table_beyond and --antialias."""
    define_rule_flag("How a multi-scale network is rendered more densely (docs/continuous.md).")
    flags.DEFINE_enum("table_between", "nearest", list(typing.get_args(Between)), "Learned tables between pixels.")
    flags.DEFINE_enum("table_beyond", "reflect", list(typing.get_args(Beyond)), "Learned tables beyond the border.")
    flags.DEFINE_boolean("antialias", True, "Fade frequencies above the Nyquist limit of a coarser image.")


def define_size_flags() -> None:
    """Defines --resolution, --height, --width, --fit and the flags of the rule."""
    define_side_flag("resolution", "Height and width in pixels; the trained size by default.")
    define_side_flag("height", "Height in pixels; follows from --width, or as trained.")
    define_side_flag("width", "Width in pixels; follows from --height, or as trained.")
    meaning = "For a different aspect ratio: crop to the middle, extend beyond the border, or stretch."
    flags.DEFINE_enum("fit", "crop", list(typing.get_args(Fit)), meaning)
    define_rule_flags()


def define_viewport_flags() -> None:
    """Defines the flags of area, size, fit and rule."""
    define_size_flags()
    meaning = "border; the trained image covers 0 to 1"
    define_float("top", 0, f"Upper {meaning}, downwards.", -_MAX_DISTANCE, _MAX_DISTANCE)
    define_float("left", 0, f"Left {meaning}.", -_MAX_DISTANCE, _MAX_DISTANCE)
    for name, direction in (("height_extent", "downwards"), ("width_extent", "to the right")):
        define_float(name, 1, f"Length covered {direction}; 1: the trained image.", _MIN_EXTENT, _MAX_DISTANCE)


def chosen_rule(generator: Generator) -> DensifyRule:
    """The rule of --rule."""
    return generator.default_rule if flags.FLAGS.rule == "auto" else flags.FLAGS.rule


def chosen_rules(generator: Generator) -> dict[str, Any]:
    """The flags of the rule as keyword arguments of a viewport."""
    from inr_gan_jax.ops.table_lookup import TableRule

    values = flags.FLAGS
    tables = TableRule(values.table_between, values.table_beyond)
    return {"rule": chosen_rule(generator), "tables": tables, "antialias": values.antialias}


def chosen_viewport(loaded: LoadedGenerator, check: Callable[[int, int], object] | None = None) -> Viewport:
    """The viewport that the flags of size, fit, rule and, where the command has them, area choose.

    Args:
        loaded: the generator.
        check: raises `UserError` for a (height, width) in pixels; None for `check_size`.

    Raises:
        UserError: for an impossible size, or a network that renders only its trained image when another is requested.
    """
    from inr_gan_jax.inference.viewports import TRAINED_AREA, check_continuous, check_size, fit_viewport

    generator, area = loaded.generator, _chosen_area()
    size = _chosen_size(loaded, area)
    (check or check_size)(*size)
    if size == generator.size and area == TRAINED_AREA and flags.FLAGS.rule == "auto":
        return generator.native_viewport
    check_continuous(loaded, f"another image than the trained one of {generator.size[0]} x {generator.size[1]} pixels")
    viewport = fit_viewport(generator, size, flags.FLAGS.fit, area, **chosen_rules(generator))
    covered = generator.size[0] * viewport.height_extent * generator.size[1] * viewport.width_extent
    if viewport.rule != "pointwise" and covered > MAX_PIXELS:
        raise UserError(
            f"the viewport covers {covered:,.0f} trained pixels, expected at most {MAX_PIXELS:,}, because rule "
            f"{viewport.rule!r} holds the features of all of them at once; --rule=pointwise holds none"
        )
    return viewport


def _chosen_area() -> Area:
    from inr_gan_jax.inference.viewports import TRAINED_AREA, Area

    values = flags.FLAGS
    if "top" not in values:
        return TRAINED_AREA
    return Area(values.top, values.left, values.height_extent, values.width_extent)


def _chosen_size(loaded: LoadedGenerator, area: Area) -> tuple[int, int]:
    """(height, width) of the size flags; a side that they leave open keeps pixels square.

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
