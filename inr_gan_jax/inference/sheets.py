"""Sheets of pictures with names of their rows and columns, and pictures at the sizes that a sheet needs."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import draw_border, magnify, tile
from inr_gan_jax.ops.viewport import Viewport

_GAP = 4
_TEXT_SIZE = 13
_MARGIN = 6
_BORDER_COLOUR = (230, 60, 60)


def as_picture(image: np.ndarray) -> Image.Image:
    """A picture [height, width, 1 or 3], uint8, as notebooks show it."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def in_colour(images: np.ndarray) -> np.ndarray:
    """Grey pictures [..., height, width, 1 or 3] as three equal channels."""
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def named_sheet(
    cells: Sequence[Sequence[np.ndarray]], column_names: Sequence[str] = (), row_names: Sequence[str] = ()
) -> np.ndarray:
    """Lays pictures out with a name above each column and to the left of each row.

    Args:
        cells: rows of pictures, each [height, width, 1 or 3], uint8, all of one size.
        column_names: one a column, or none.
        row_names: one a row, of one line or several, or none.

    Returns:
        [sheet_height, sheet_width, 3], uint8, black on white.
    """
    height, width = cells[0][0].shape[:2]
    grid = tile([in_colour(cell) for row in cells for cell in row], len(cells[0]), gap=_GAP)
    font = ImageFont.load_default(_TEXT_SIZE)
    top = _TEXT_SIZE + _MARGIN if any(column_names) else 0
    lines = [line for name in row_names for line in name.splitlines()]
    left = round(max(map(font.getlength, lines), default=-_MARGIN)) + _MARGIN
    # A name wider than its column is not cut at the border of the sheet.
    overhang = round(max(map(font.getlength, column_names), default=0)) - width
    sheet = np.full((top + grid.shape[0], max(left, overhang // 2) + grid.shape[1], 3), 255, np.uint8)
    left = sheet.shape[1] - grid.shape[1]
    sheet[top:, left:] = grid
    picture = Image.fromarray(sheet)
    pen = ImageDraw.Draw(picture)
    for index, name in enumerate(column_names):
        centre = left + _GAP + index * (width + _GAP) + width / 2
        pen.text((centre, top), name, fill="black", font=font, anchor="md")
    for index, name in enumerate(row_names):
        centre = top + _GAP + index * (height + _GAP) + height / 2
        pen.text((left - _MARGIN / 2, centre), name, fill="black", font=font, anchor="rm")
    return np.asarray(picture)


def viewport_of_side(loaded: LoadedGenerator, side: int | None) -> Viewport:
    """The trained picture, drawn so that its longer side has that many pixels, over the pixels of the trained one.

    Args:
        loaded: the generator; its rule of training is that of the viewport.
        side: pixels; None for the trained size.
    """
    native = loaded.generator.native_viewport
    if side is None or side == max(loaded.generator.size):
        return native
    scale = side / max(loaded.generator.size)
    height, width = (max(1, round(scale * size)) for size in loaded.generator.size)
    return dataclasses.replace(native, height=height, width=width).centred_on(loaded.generator.size)


def trained_pictures(loaded: LoadedGenerator, modulations: Modulation, side: int) -> np.ndarray:
    """Pictures at the trained size, each pixel a square, as large as fits: [count, <= side, <= side, channels], uint8.

    Pictures that are larger than `side` stay as they are.
    """
    return magnify(render_bytes(loaded, modulations, loaded.generator.native_viewport), magnification(loaded, side))


def magnification(loaded: LoadedGenerator, side: int) -> int:
    """How often a trained pixel is repeated each way for a picture of about `side` pixels."""
    return max(1, side // max(loaded.generator.size))


def zoomed_out(loaded: LoadedGenerator, modulations: Modulation, side: int, factor: float = 2.0) -> np.ndarray:
    """Pictures of the plane around the trained square, its border in red: [count, height, width, 3], uint8."""
    view = viewport_of_side(loaded, side).zoom_out(factor)
    margin = (1 - 1 / factor) / 2
    low, high = margin, 1 - margin
    box = (round(low * view.height), round(low * view.width), round(high * view.height), round(high * view.width))
    return np.stack([draw_border(image, box, _BORDER_COLOUR) for image in render_bytes(loaded, modulations, view)])
