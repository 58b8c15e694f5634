"""The endless plane as square tiles: their areas, which ones exist, and their viewports.

A tile of level z is 2^-z wide, in units of the longer side of the trained image; column and row count from the upper
left corner of the trained image and may be negative. Tile (0, 0) of level 0 covers a square trained image.
"""

import dataclasses

from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import Viewport

TILE = 256
MIN_LEVEL = -4
MAX_LEVEL = 12
# Extent of the plane in each direction.
REACH = 512
# Positions are float32 on the device, with 23 bits below the leading one; neighbouring pixels should differ by two.
_POSITION_BITS = 22


@dataclasses.dataclass(frozen=True)
class Tile:
    """A square of the plane.

    Attributes:
        level: MIN_LEVEL (coarse) to MAX_LEVEL (fine).
        column: to the right.
        row: downwards.
    """

    level: int
    column: int
    row: int

    @property
    def extent(self) -> float:
        """Length of a side, in longer sides of the trained image."""
        return 2.0**-self.level

    @property
    def exists(self) -> bool:
        """Whether it lies in the plane, near enough that its pixels have distinct positions."""
        if not MIN_LEVEL <= self.level <= MAX_LEVEL:
            return False
        count = round(reach_of(self.level) / self.extent)
        return -count <= self.column < count and -count <= self.row < count


def reach_of(level: int) -> float:
    """Largest distance of tiles of a level from the corner of the trained image, in its longer sides."""
    return reach_of_step(2.0**-level / TILE)


def reach_of_step(step: float) -> float:
    """Largest distance from the corner at which pixels of length `step` have distinct positions."""
    return min(float(REACH), step * 2.0**_POSITION_BITS)


def viewport_of(tile: Tile, native: tuple[int, int], rule: DensifyRule) -> Viewport:
    """The viewport of a tile, aligned with the trained image.

    Args:
        tile: the square.
        native: (height, width) of the trained image.
        rule: densification rule.
    """
    return viewport_at(
        (tile.row * tile.extent, tile.column * tile.extent), (tile.extent, tile.extent), (TILE, TILE), native, rule
    )


def viewport_at(
    corner: tuple[float, float],
    extents: tuple[float, float],
    size: tuple[int, int],
    native: tuple[int, int],
    rule: DensifyRule,
) -> Viewport:
    """The viewport of any rectangle of the plane.

    Args:
        corner: (top, left), in longer sides of the trained image.
        extents: (height, width), likewise.
        size: (height, width) in pixels.
        native: (height, width) of the trained image in pixels, which are square.
        rule: densification rule.
    """
    scales = [max(native) / side for side in native]
    view = Viewport(
        *size,
        top=corner[0] * scales[0],
        left=corner[1] * scales[1],
        height_extent=extents[0] * scales[0],
        width_extent=extents[1] * scales[1],
        rule=rule,
        antialias=True,
    )
    return view.centred_on(native)
