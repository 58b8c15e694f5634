"""Modulations to tiles with few compiled programs: any place, any density, any image.

A program is compiled for the sizes of its grids. Tiles are cut into pieces of one shape; coarse grids, whose sizes
differ by one from place to place and by the density from level to level, are padded to the next size of a short list.
So the number of programs is bounded for all requests.
"""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Generator, Grids, Modulation
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Layout, Viewport
from inr_gan_jax.viewer.plane import TILE


@dataclasses.dataclass(frozen=True)
class PieceSettings:
    """Shape of the pieces of tiles on a device.

    Attributes:
        rows: of a piece.
        batch: pieces per call.
    """

    rows: int
    batch: int

    @property
    def tiles(self) -> int:
        """Number of waiting tiles to render together."""
        return max(1, self.batch * self.rows // TILE)

    @property
    def parallel(self) -> int:
        """Number of tiles that one page should request at once; more would only wait, and delay others."""
        return self.tiles


# On a CPU the activations of a piece stay in its caches, and waiting for other tiles only adds latency.
CPU_PIECES = PieceSettings(rows=64, batch=1)
ACCELERATOR_PIECES = PieceSettings(rows=TILE, batch=8)


def pieces_for_device() -> PieceSettings:
    """The pieces for the default device."""
    return CPU_PIECES if jax.default_backend() == "cpu" else ACCELERATOR_PIECES


class Programs:
    """Compiled programs, compiled on first use and cached.

    Args:
        pieces: shape of the pieces of tiles.
    """

    def __init__(self, pieces: PieceSettings) -> None:
        self.pieces = pieces
        self._compiled: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def render(
        self, loaded: LoadedGenerator, modulation: Modulation, viewports: Sequence[Viewport]
    ) -> list[np.ndarray]:
        """Renders viewports of TILE x TILE pixels of one image.

        Args:
            loaded: the generator.
            modulation: of the image.
            viewports: of one rule; those of a larger picture may extend beyond it.

        Returns:
            For each [TILE, TILE, channels], uint8.
        """
        pieces = [piece for viewport in viewports for piece in self._cut(loaded.generator, viewport)]
        # Neighbours nearly always share a program; otherwise each group is a separate call. All calls start before
        # the first is awaited, so that the cores of a CPU share them.
        calls = [self._call(loaded, modulation, group) for group in _groups(pieces, self.pieces.batch)]
        rendered = [image for images, count in calls for image in np.asarray(images)[:count]]
        count = TILE // self.pieces.rows
        return [to_uint8(np.concatenate(rendered[start : start + count])) for start in range(0, len(rendered), count)]

    def prepare(self, loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport) -> bool:
        """Compiles the programs of a tile; returns whether any was missing."""
        before = len(self._compiled)
        for piece in self._cut(loaded.generator, viewport):
            self._program(loaded, modulation, _stacked([piece] * self.pieces.batch))
        return len(self._compiled) > before

    def keys_of(self, generator: Generator, viewport: Viewport) -> set[Any]:
        """Keys of the programs of a tile."""
        return {_shape_key(piece) for piece in self._cut(generator, viewport)}

    @property
    def count(self) -> int:
        """Number of programs compiled so far."""
        return len(self._compiled)

    def _cut(self, generator: Generator, viewport: Viewport) -> list[Grids]:
        rows = self.pieces.rows
        return [
            _padded(generator.grids(viewport.crop(top, 0, rows, viewport.width)))
            for top in range(0, viewport.height, rows)
        ]

    def _call(self, loaded: LoadedGenerator, modulation: Modulation, group: list[Grids]) -> tuple[Array, int]:
        """Starts to render pieces: [batch, rows, TILE, channels], and how many of them are needed."""
        grids = _stacked(group + [group[-1]] * (self.pieces.batch - len(group)))
        return self._program(loaded, modulation, grids)(loaded.variables, modulation, grids), len(group)

    def _program(self, loaded: LoadedGenerator, modulation: Modulation, grids: Grids) -> Any:
        key = (loaded.generator, _shape_key(grids))
        program = self._compiled.get(key)
        if program is None:
            with self._lock:
                program = self._compiled.get(key) or _compiled(loaded, modulation, grids)
                self._compiled[key] = program
        return program


def _compiled(loaded: LoadedGenerator, modulation: Modulation, grids: Grids) -> Any:
    generator = loaded.generator

    def render(variables: Variables, modulation: Modulation, grids: Grids) -> Array:
        return jax.vmap(lambda grids: generator.render_grids(variables, modulation, grids))(grids)

    return jax.jit(render).lower(loaded.variables, modulation, grids).compile()


def _groups(pieces: Sequence[Grids], most: int) -> Iterator[list[Grids]]:
    """Consecutive pieces of one program, at most `most` each."""
    group: list[Grids] = []
    key = None
    for piece in pieces:
        own = _shape_key(piece)
        if group and (own != key or len(group) == most):
            yield group
            group = []
        key = own
        group.append(piece)
    if group:
        yield group


def _padded(grids: Any) -> Grids:
    """Grids padded to the sizes of the short list."""
    full = grids[-1].layout.size
    return tuple(_in_float32(grid.with_layout(_layout(grid.layout, full))) for grid in grids)


def _layout(layout: Layout, full: tuple[int, int]) -> Layout:
    size = (listed_size(layout.size[0], full[0]), listed_size(layout.size[1], full[1]))
    # Padded grids do not repeat regularly; those of rule `pointwise` are all the same.
    return Layout(size, layout.repeats if layout.repeats == (1, 1) else None)


def listed_size(size: int, full: int) -> int:
    """The next size of the form 2^k + 1, that of halves and quarters of a tile where cells are cut."""
    return size if size == full else 1 + 2 ** (max(size, 2) - 2).bit_length()


def _in_float32(grid: Any) -> Any:
    """Positions in float32; indices unchanged."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32) if leaf.dtype.kind == "f" else leaf, grid)


def _stacked(group: Sequence[Grids]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *group)


def _shape_key(grids: Any) -> Any:
    leaves, structure = jax.tree.flatten(grids)
    return structure, tuple(leaf.shape for leaf in leaves)
