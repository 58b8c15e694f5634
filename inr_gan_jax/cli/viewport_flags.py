"""Flags of the commands that render any rectangle of the plane, and the viewport that they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.flags import check_size
from inr_gan_jax.inference import viewports as framing
from inr_gan_jax.inference.viewports import Area

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.ops.viewport import Viewport

flags.disclaim_key_flags()

# Positions are float32 on the device; farther away, or closer together, neighbouring pixels become one.
_MAX_DISTANCE, _MIN_EXTENT = 1000, 1e-6


def define_viewport_flags() -> None:
    """Defines the flags of area, size, fit and rule."""
    framing.define_size_flags()
    define_float("top", 0, "Upper border; the trained picture covers 0 to 1, downwards.", -_MAX_DISTANCE, _MAX_DISTANCE)
    define_float("left", 0, "Left border; the trained picture covers 0 to 1.", -_MAX_DISTANCE, _MAX_DISTANCE)
    for name, direction in (("height_extent", "downwards"), ("width_extent", "to the right")):
        define_float(name, 1, f"Length covered {direction}; 1: the trained picture.", _MIN_EXTENT, _MAX_DISTANCE)


def chosen_viewport(loaded: LoadedGenerator, check: Callable[[int, int], object] = check_size) -> Viewport:
    """The viewport that the flags choose; where they say nothing, that of the trained picture.

    Args:
        loaded: the generator.
        check: refuses a (height, width) in pixels by `UserError`.

    Raises:
        UserError: if it is too large, or not possible with this network.
    """
    values = flags.FLAGS
    area = Area(values.top, values.left, values.height_extent, values.width_extent)
    return framing.chosen_viewport(loaded, area, check)
