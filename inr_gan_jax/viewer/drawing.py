"""Tiles and pictures of scenes: drawn by a few threads, kept, and handed to whoever asks."""

import dataclasses
import io
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.resampling import Filter
from inr_gan_jax.inference.views import as_picture
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.viewer.comparison import filtered_tile
from inr_gan_jax.viewer.images import Images
from inr_gan_jax.viewer.kept import Kept
from inr_gan_jax.viewer.plane import MAX_LEVEL, MIN_LEVEL, TILE, Tile, viewport_of
from inr_gan_jax.viewer.programs import PieceSettings, Programs
from inr_gan_jax.viewer.scene import RULES, ImageChoice, Scene, spaces_of
from inr_gan_jax.viewer.work_queue import Work, WorkQueue

MOST_WAITING = 256
# One writes its tile as a file while the other one's is drawn.
NUM_WORKERS = 2
_TILE_BYTES = 2**27
# Grid points of all blocks that one tile may need.
_MOST_POINTS = 16 * TILE * TILE
# Compressing more would take longer than drawing.
_PNG_LEVEL = 1
# First come, first served; but a coarser tile, which shows more, passes those that came so little earlier.
_SECONDS_A_LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class InrWork:
    """A square of pixels of the INR.

    Attributes:
        image: what is drawn.
        viewport: of TILE x TILE pixels.
        is_tile: wanted as a file, and kept; otherwise as an array, for a picture.
    """

    image: ImageChoice
    viewport: Viewport
    is_tile: bool


@dataclasses.dataclass(frozen=True)
class FilterWork:
    """A tile of the trained picture, enlarged by a filter.

    Attributes:
        image: what is drawn.
        tile: where.
        name: of the filter.
    """

    image: ImageChoice
    tile: Tile
    name: Filter


class Drawing:
    """Draws for many at once.

    Args:
        loaded: the generator, a continuous one.
        pieces: how tiles are cut.
        most_waiting: tiles that may wait.
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
        self._tiles: Kept[bytes] = Kept(_TILE_BYTES, len)
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
        """Makes an image in every space and compiles what tiles of every level need, step by step."""
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
        """What a tile of a scene asks for."""
        return InrWork(scene.image, viewport_of(tile, self.loaded.generator.size, scene.rule), is_tile=True)

    def kept_tile(self, work: InrWork | FilterWork) -> bytes | None:
        """A tile that was drawn lately, as PNG."""
        return self._tiles.get(work)

    def ask_for_tile(self, work: InrWork | FilterWork, level: int) -> Work:
        """Has a tile drawn, as PNG; coarse ones first.

        Raises:
            RefusalError: if too much waits.
        """
        by = work.viewport.rule if isinstance(work, InrWork) else work.name
        urgency = time.monotonic() + _SECONDS_A_LEVEL * level
        return self._queue.put(work, (work.image, by, level), work, urgency)

    def ask_for_block(self, image: ImageChoice, viewport: Viewport) -> Work:
        """Has a part of a picture drawn, [TILE, TILE, channels], uint8, when no tile waits; errors are as above."""
        work = InrWork(image, viewport, is_tile=False)
        return self._queue.put(work, (image, viewport.rule, "block"), work, math.inf)

    def leave(self, work: Work) -> None:
        """Tells that a request wants a piece of work no more."""
        self._queue.leave(work)

    def close(self) -> None:
        """Stops the threads."""
        self._queue.close()

    @property
    def num_waiting(self) -> int:
        """Tiles that no thread has taken yet."""
        return self._queue.num_waiting

    def _do(self, together: Sequence[InrWork | FilterWork]) -> list[Any]:
        """Does works of one kind."""
        shown = self.images.get(together[0].image)
        filtered = [work for work in together if isinstance(work, FilterWork)]
        if filtered:
            return [self._as_tile(work, filtered_tile(shown.native, work.tile, work.name)) for work in filtered]
        works = [work for work in together if isinstance(work, InrWork)]
        drawn = self.programs.draw(shown.loaded, shown.modulation, [work.viewport for work in works])
        pairs = zip(works, drawn, strict=True)
        return [self._as_tile(work, array) if work.is_tile else array for work, array in pairs]

    def _as_tile(self, work: InrWork | FilterWork, array: Any) -> bytes:
        data = as_png(array)
        self._tiles.put(work, data)
        return data


def coarsest_level(loaded: LoadedGenerator, rule: DensifyRule) -> int:
    """The coarsest level whose tiles need no more grid points than fit in memory many times over."""
    for level in range(MIN_LEVEL, MAX_LEVEL):
        grids: Any = loaded.generator.grids(viewport_of(Tile(level, 0, 0), loaded.generator.size, rule))
        if sum(grid.layout.size[0] * grid.layout.size[1] for grid in grids) <= _MOST_POINTS:
            return level
    return MAX_LEVEL


def as_png(image: Any) -> bytes:
    """A picture [height, width, 1 to 4], uint8, as the bytes of a file."""
    file = io.BytesIO()
    as_picture(image).save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()
