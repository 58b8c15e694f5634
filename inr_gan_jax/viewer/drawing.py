"""Tiles and pictures of scenes: rendered by a few threads and cached."""

import dataclasses
import io
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from inr_gan_jax.inference.latent_paths import spaces_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.sheets import as_picture
from inr_gan_jax.inference.super_resolution import Filter, resize
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.viewer.byte_cache import ByteCache
from inr_gan_jax.viewer.images import Images
from inr_gan_jax.viewer.plane import MAX_LEVEL, MIN_LEVEL, TILE, Tile, viewport_of
from inr_gan_jax.viewer.programs import PieceSettings, Programs
from inr_gan_jax.viewer.scene import RULES, ImageChoice, Scene
from inr_gan_jax.viewer.work_queue import Work, WorkQueue

MOST_WAITING = 256
# One encodes its tile while the other renders.
NUM_WORKERS = 2
_TILE_BYTES = 2**27
# Grid points of all blocks that one tile may need.
_MOST_POINTS = 16 * TILE * TILE
# More compression would take longer than rendering.
_PNG_LEVEL = 1
# First come, first served, but a coarser tile, which shows more, overtakes those that arrived slightly earlier.
_SECONDS_PER_LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class InrWork:
    """A square of pixels of the INR.

    Attributes:
        image: to render.
        viewport: of TILE x TILE pixels.
        is_tile: whether the result is an encoded, cached tile; otherwise an array, for a picture.
    """

    image: ImageChoice
    viewport: Viewport
    is_tile: bool


@dataclasses.dataclass(frozen=True)
class FilterWork:
    """A tile of the trained image, resized by a filter.

    Attributes:
        image: to render.
        tile: to fill.
        name: of the filter.
    """

    image: ImageChoice
    tile: Tile
    name: Filter


class Drawing:
    """Renders tiles and pictures for many clients.

    Args:
        loaded: the generator, a continuous one.
        pieces: shape of the pieces of tiles.
        most_waiting: maximum number of waiting tiles.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        pieces: PieceSettings,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.loaded = loaded
        self.images = Images(loaded)
        self.programs = Programs(pieces)
        self.coarsest: dict[DensifyRule, int] = {rule: coarsest_level(loaded, rule) for rule in RULES}
        self._tiles: ByteCache[bytes] = ByteCache(_TILE_BYTES, len)
        self._queue = WorkQueue(self._do, NUM_WORKERS, most_waiting, pieces.tiles)
        self._levels: list[tuple[DensifyRule, int]] = [
            (rule, level) for rule, least in self.coarsest.items() for level in range(least, MAX_LEVEL + 1)
        ]
        self._spaces = spaces_of(loaded)

    @property
    def num_steps(self) -> int:
        """Steps of `prepare`."""
        return len(self._spaces) + len(self._levels)

    def prepare(self) -> Iterator[None]:
        """Makes an image in every space and compiles the programs of all levels, step by step."""
        class_index = 0 if self.loaded.generator.c_dim else None
        for space in self._spaces:
            way = ImageChoice(other=1, share=0.5, space=space, class_index=class_index)
            self.images.get(dataclasses.replace(way, style=2, layers=(0,)))
            yield
        shown = self.images.get(ImageChoice(class_index=class_index))
        for rule, level in self._levels:
            # Neighbouring tiles may need grids of other sizes.
            for place in (0, 1):
                viewport = viewport_of(Tile(level, place, place), self.loaded.generator.size, rule)
                self.programs.prepare(shown.loaded, shown.modulation, viewport)
            yield

    def tile_work(self, scene: Scene, tile: Tile) -> InrWork:
        """The work for a tile of a scene."""
        return InrWork(scene.image, viewport_of(tile, self.loaded.generator.size, scene.rule), is_tile=True)

    def cached_tile(self, work: InrWork | FilterWork) -> bytes | None:
        """A cached tile, as PNG."""
        return self._tiles.get(work)

    def ask_for_tile(self, work: InrWork | FilterWork, level: int) -> Work:
        """Queues a tile, to be encoded as PNG; coarse ones first.

        Raises:
            RefusalError: if the queue is full.
        """
        by = work.viewport.rule if isinstance(work, InrWork) else work.name
        urgency = time.monotonic() + _SECONDS_PER_LEVEL * level
        return self._queue.put(work, (work.image, by, level), work, urgency)

    def ask_for_block(self, image: ImageChoice, viewport: Viewport) -> Work:
        """Queues a part of a picture, [TILE, TILE, channels], uint8, behind all tiles; raises as `ask_for_tile`."""
        work = InrWork(image, viewport, is_tile=False)
        return self._queue.put(work, (image, viewport.rule, "block"), work, math.inf)

    def leave(self, work: Work) -> None:
        """Withdraws a request for a piece of work."""
        self._queue.leave(work)

    def close(self) -> None:
        """Stops the threads."""
        self._queue.close()

    @property
    def num_waiting(self) -> int:
        """Number of tiles that no thread has started."""
        return self._queue.num_waiting

    def _do(self, together: Sequence[InrWork | FilterWork]) -> list[Any]:
        """Executes works of one kind."""
        shown = self.images.get(together[0].image)
        filtered = [work for work in together if isinstance(work, FilterWork)]
        if filtered:
            return [self._as_tile(work, filtered_tile(shown.native, work.tile, work.name)) for work in filtered]
        works = [work for work in together if isinstance(work, InrWork)]
        rendered = self.programs.render(shown.loaded, shown.modulation, [work.viewport for work in works])
        pairs = zip(works, rendered, strict=True)
        return [self._as_tile(work, array) if work.is_tile else array for work, array in pairs]

    def _as_tile(self, work: InrWork | FilterWork, array: Any) -> bytes:
        data = as_png(array)
        self._tiles.put(work, data)
        return data


def coarsest_level(loaded: LoadedGenerator, rule: DensifyRule) -> int:
    """The coarsest level whose tiles need few enough grid points."""
    for level in range(MIN_LEVEL, MAX_LEVEL):
        grids: Any = loaded.generator.grids(viewport_of(Tile(level, 0, 0), loaded.generator.size, rule))
        if sum(grid.layout.size[0] * grid.layout.size[1] for grid in grids) <= _MOST_POINTS:
            return level
    return MAX_LEVEL


def filtered_tile(native: np.ndarray, tile: Tile, name: Filter) -> np.ndarray:
    """Resizes the part of the trained image that a tile shows.

    Args:
        native: [height, width, channels], about [-1, 1].
        tile: the square of the plane.
        name: of the filter.

    Returns:
        [TILE, TILE, channels + 1], uint8, the last channel opaque within the trained image.
    """
    tile_image = np.zeros((TILE, TILE, native.shape[-1] + 1), np.uint8)
    # Length of a tile pixel in trained pixels.
    step = tile.extent / TILE * max(native.shape[:2])
    rows = _within(tile.row, step, native.shape[0])
    columns = _within(tile.column, step, native.shape[1])
    if not rows or not columns:
        return tile_image
    box = (columns[0] * step, rows[0] * step, columns[-1] * step + step, rows[-1] * step + step)
    # Rounding may lead beyond the border.
    top, left = tile.row * TILE, tile.column * TILE
    limits = (native.shape[1], native.shape[0]) * 2
    box = tuple(min(value, float(limit)) for value, limit in zip(box, limits, strict=True))
    part = to_uint8(resize(native, (len(rows), len(columns)), name, box))
    inside = tile_image[rows[0] - top : rows[-1] + 1 - top, columns[0] - left : columns[-1] + 1 - left]
    inside[..., :-1], inside[..., -1] = part, 255
    return tile_image


def _within(place: int, step: float, size: int) -> range:
    """Pixels of a tile, counted from the border of the trained image, that lie entirely within it."""
    first, last = place * TILE, (place + 1) * TILE
    return range(max(first, 0), min(last, math.floor(size / step + 1e-6)))


def as_png(image: Any) -> bytes:
    """Encodes an image [height, width, 1 to 4], uint8, as PNG."""
    file = io.BytesIO()
    as_picture(image).save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()
