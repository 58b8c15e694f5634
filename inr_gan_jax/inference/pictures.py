"""Modulations of a loaded generator to pixels: any viewport, in constant memory.

A large viewport is rendered in strips of equal shape, small images several at a time. What the rectangle changes are
arrays that the compiled program takes, so moving, like another image, compiles nothing.
"""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from inr_gan_jax.inference.latents import sampler_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.generator import Grids, Modulation
from inr_gan_jax.ops.viewport import Viewport


def render(loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport) -> np.ndarray:
    """Renders one image.

    Args:
        loaded: the generator.
        modulation: of the image.
        viewport: where, how dense and with which rule; of any size that the picture itself fits in memory at.

    Returns:
        [viewport.height, viewport.width, channels], about [-1, 1], on the host.

    Raises:
        UserError: if the network renders its trained picture only and another viewport is asked for.
    """
    (image,) = render_each(loaded, _batch_of_one(modulation), viewport)
    return image


def render_on(loaded: LoadedGenerator, modulation: Modulation, grids: Grids) -> np.ndarray:
    """Renders one image on given grids: [height, width, channels], about [-1, 1], on the host."""
    return np.asarray(sampler_of(loaded).render_on(_batch_of_one(modulation), grids))[0]


def grids_of_tiles(loaded: LoadedGenerator, viewports: Sequence[Viewport]) -> Iterator[Grids]:
    """As `Generator.grids_of_tiles`.

    Raises:
        UserError: if the network renders its trained picture only and another viewport is asked for.
    """
    return sampler_of(loaded).grids_of_tiles(viewports)


def render_all(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> np.ndarray:
    """Renders several images: [count, height, width, channels], about [-1, 1].

    Arguments and errors are as in `render`; the arrays of the modulation have a leading axis [count].
    """
    return np.concatenate([np.asarray(batch) for batch in sampler_of(loaded).render(modulations, viewport)])


def render_bytes(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> np.ndarray:
    """`render_all` as bytes for files: [count, height, width, channels], uint8."""
    return np.concatenate(list(sampler_of(loaded).render_bytes(modulations, viewport)))


def render_each(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> Iterator[np.ndarray]:
    """Yields the images of `render_all` one by one; no more are held than are rendered at a time."""
    for batch in sampler_of(loaded).render(modulations, viewport):
        yield from np.asarray(batch)


def _batch_of_one(modulation: Modulation) -> Modulation:
    return jax.tree.map(lambda leaf: leaf[None], modulation)
