"""Pictures at the sizes that a sheet or a notebook needs."""

import numpy as np
from PIL import Image

from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.sheets import magnification
from inr_gan_jax.inference.viewports import framed
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import TRAINED_BORDER_COLOUR, magnify, with_border
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.tools.extrapolate import zoomed_out


def as_picture(image: np.ndarray) -> Image.Image:
    """A picture [height, width, 1 or 3], uint8, as notebooks show it."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def in_colour(images: np.ndarray) -> np.ndarray:
    """Grey pictures [..., height, width, 1 or 3] as three equal channels."""
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def viewport_of_side(loaded: LoadedGenerator, side: int | None) -> Viewport:
    """The trained picture, drawn so that its longer side has that many pixels, over the pixels of the trained one.

    Args:
        loaded: the generator.
        side: pixels; None for the trained size.
    """
    native = loaded.generator.size
    if side is None or side == max(native):
        return loaded.generator.native_viewport
    height, width = (max(1, round(side / max(native) * size)) for size in native)
    return framed(loaded.generator, (height, width), "stretch")


def trained_pictures(loaded: LoadedGenerator, modulations: Modulation, side: int) -> np.ndarray:
    """Pictures at the trained size, each pixel a square, as large as fits: [count, <= side, <= side, channels], uint8.

    Pictures that are larger than `side` stay as they are.
    """
    images = render_bytes(loaded, modulations, loaded.generator.native_viewport)
    return magnify(images, magnification(loaded.generator.size, side))


def zoom_out_pictures(loaded: LoadedGenerator, modulations: Modulation, side: int, factor: float = 2.0) -> np.ndarray:
    """Pictures of about `side` pixels of the plane around the trained square, its border in red.

    Returns:
        [count, height, width, 3], uint8.
    """
    view = zoomed_out(loaded, factor, density=side / factor / max(loaded.generator.size))
    images = render_bytes(loaded, modulations, view.viewport)
    return np.stack([with_border(image, view.square, TRAINED_BORDER_COLOUR) for image in images])
