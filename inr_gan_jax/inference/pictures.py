"""Modulations to pixels: any viewport, in constant memory, compiled once for all images and places.

A large viewport is drawn in strips of equal shape. What the rectangle changes are arrays that the compiled program
takes, so moving, like another image, compiles nothing.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.cli.flags import STRIP_PIXELS
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import take
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Generator, Grids, Modulation
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Viewport


@functools.partial(jax.jit, static_argnums=0)
def _render(generator: Generator, variables: Variables, modulation: Modulation, grids: Grids) -> Array:
    return generator.render_grids(variables, modulation, grids)


def render(loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport) -> np.ndarray:
    """Draws one image.

    Args:
        loaded: the generator.
        modulation: of the image.
        viewport: where, how dense and by which rule; of any size that the picture itself fits in memory at.

    Returns:
        [viewport.height, viewport.width, channels], about [-1, 1], on the host.

    Raises:
        UserError: if the network draws its trained picture only and another viewport is asked for.
    """
    strips = [render_on(loaded, modulation, grids) for grids in grids_of_tiles(loaded, _strips(loaded, viewport))]
    return np.concatenate(strips)[: viewport.height]


def render_on(loaded: LoadedGenerator, modulation: Modulation, grids: Grids) -> np.ndarray:
    """Draws one image on given grids: [height, width, channels], about [-1, 1], on the host."""
    return np.asarray(_render(loaded.generator, loaded.variables, modulation, grids))


def grids_of_tiles(loaded: LoadedGenerator, viewports: Sequence[Viewport]) -> Iterator[Grids]:
    """As `Generator.grids_of_tiles`.

    Raises:
        UserError: if the network draws its trained picture only and another viewport is asked for.
    """
    try:
        yield from loaded.generator.grids_of_tiles(viewports)
    except ValueError as error:
        raise UserError(f"{loaded.source} cannot be drawn like this: {error}") from error


def render_all(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> np.ndarray:
    """Draws several images, one after the other: [count, height, width, channels], about [-1, 1].

    Arguments and errors are as in `render`; the arrays of the modulation have a leading axis [count].
    """
    return np.stack(list(render_each(loaded, modulations, viewport)))


def render_bytes(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> np.ndarray:
    """`render_all` as bytes for files: [count, height, width, channels], uint8."""
    return np.stack([to_uint8(image) for image in render_each(loaded, modulations, viewport)])


def render_each(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> Iterator[np.ndarray]:
    """Yields the images of `render_all` one by one."""
    for index in range(count_of(modulations)):
        yield render(loaded, take(modulations, index), viewport)


def count_of(modulations: Modulation) -> int:
    """How many images a modulation with a leading axis holds."""
    return jax.tree.leaves(modulations)[0].shape[0]


def _strips(loaded: LoadedGenerator, viewport: Viewport) -> list[Viewport]:
    """Cuts a viewport into strips of equal height; the last may reach beyond the viewport."""
    rows = max(1, STRIP_PIXELS // viewport.width)
    if rows >= viewport.height or not loaded.generator.is_continuous:
        return [viewport]
    return [viewport.crop(top, 0, rows, viewport.width) for top in range(0, viewport.height, rows)]
