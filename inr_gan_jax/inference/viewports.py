"""From a size in pixels and a part of the plane to the viewport to render: one rule for all tools."""

import dataclasses
from typing import Any

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import MAX_PIXELS, Fit
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.ops.viewport import Viewport

# (top, left, bottom, right), first and last rows and columns.
Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Area:
    """A rectangle of the plane by its borders, in units of the trained image, which covers 0 to 1 in both directions.

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


@dataclasses.dataclass(frozen=True)
class ZoomedOut:
    """An image that extends beyond the trained square.

    Attributes:
        viewport: to render.
        square: pixels of it that the trained square covers.
    """

    viewport: Viewport
    square: Box


TRAINED_AREA = Area()


def check_size(height: int, width: int) -> tuple[int, int]:
    """Returns a size in pixels that an image can have.

    Raises:
        UserError: if it is empty or too large to render at once.
    """
    if height < 1 or width < 1:
        raise UserError(f"the size is {height} x {width} pixels, expected at least 1 x 1")
    if height * width > MAX_PIXELS:
        raise UserError(
            f"the size is {height} x {width} pixels, more than the {MAX_PIXELS:,} that are rendered at once; "
            "inr_gan_jax.tools.tile renders any size"
        )
    return height, width


def check_continuous(loaded: LoadedGenerator, wish: str) -> None:
    """Rejects networks that render only their trained image.

    Args:
        loaded: the generator.
        wish: what was requested, such as "super-resolution".

    Raises:
        UserError: for a network with bilinear or FIR upsampling, instance norm, or 3x3 kernels.
    """
    if not loaded.generator.is_continuous:
        raise UserError(
            f"{loaded.source} renders its trained image only (bilinear or FIR upsampling, instance norm or 3x3 kernels "
            f"depend on neighbouring pixels), so {wish} is not possible with it"
        )


def fit_viewport(
    generator: Generator, size: tuple[int, int], fit: Fit = "crop", area: Area = TRAINED_AREA, **choices: Any
) -> Viewport:
    """The viewport of an image of a given size that shows the trained image, or another area.

    Args:
        generator: whose image it is.
        size: (height, width) in pixels.
        fit: for another aspect ratio than that of the area: `crop` shows the largest part that fits inside, `extend`
            the whole area and what lies beyond two of its borders, `stretch` the whole area with non-square pixels.
        area: to show.
        choices: `rule`, `tables`, `antialias` of the viewport; `rule` is `Generator.default_rule` by default.

    Returns:
        The viewport, centred on the area so that images of several densities align exactly; the trained viewport
        itself for its own area, size and rule.
    """
    native = generator.size
    extents = (area.height_extent, area.width_extent)
    choices.setdefault("rule", generator.default_rule)
    steps = (extents[0] / size[0], extents[1] / size[1])
    if fit != "stretch":
        # Length of a rendered pixel in trained pixels, which are square.
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


def viewport_of_side(loaded: LoadedGenerator, side: int | None) -> Viewport:
    """The viewport of the trained image whose longer side has `side` pixels; None for the trained size."""
    native = loaded.generator.size
    if side is None or side == max(native):
        return loaded.generator.native_viewport
    height, width = (max(1, round(side / max(native) * size)) for size in native)
    return fit_viewport(loaded.generator, (height, width), "stretch")


def zoomed_out(loaded: LoadedGenerator, factor: float, density: float = 1.0, **choices: Any) -> ZoomedOut:
    """The viewport of an image whose middle is the trained square, point for point.

    Args:
        loaded: the generator.
        factor: length of the shown square relative to the trained one, at least 1; margins are rounded to whole pixels.
        density: rendered pixels per trained pixel, in each direction.
        choices: `rule`, `tables` and `antialias` of the viewport.
    """
    height, width = (round(side * density) for side in loaded.generator.size)
    inner = fit_viewport(loaded.generator, (height, width), "stretch", **choices)
    rows, columns = (round((factor - 1) / 2 * side) for side in (height, width))
    outer = inner.crop(-rows, -columns, height + 2 * rows, width + 2 * columns)
    return ZoomedOut(outer, (rows, columns, rows + height - 1, columns + width - 1))
