"""Sheets: images in rows and columns, with labels or without, and tables of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inr_gan_jax.ops.image_grid import image_grid, magnify

_GAP, _MARGIN = 6, 6
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
# Small images in a sample grid are magnified to about this side.
_GRID_SIDE, _GRID_GAP = 64, 2


def magnification(size: tuple[int, int], side: int) -> int:
    """Largest whole factor, at least 1, that keeps the longer side of an image of that size within `side`."""
    return max(1, side // max(size))


def as_picture(image: np.ndarray) -> Image.Image:
    """An image [height, width, 1 to 4], uint8, for Pillow and notebooks."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def in_colour(images: np.ndarray) -> np.ndarray:
    """Grey images [..., height, width, 1 or 3] as three equal channels."""
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def sample_grid(images: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    """Arranges samples in a grid; small ones are magnified.

    Args:
        images: each [height, width, channels], uint8, of one size.
        columns: images per row; 0 for a roughly square grid.

    Returns:
        [grid_height, grid_width, channels], uint8.
    """
    height, width = images[0].shape[:2]
    columns = columns or max(1, round((len(images) * height / width) ** 0.5))
    magnified = magnify(np.stack(images), magnification((height, width), _GRID_SIDE))
    return image_grid(magnified, min(columns, len(images)), gap=_GRID_GAP)


def labelled_sheet(
    rows: Sequence[Sequence[np.ndarray]], column_names: Sequence[str] = (), row_names: Sequence[str] = ()
) -> np.ndarray:
    """Arranges images in rows and columns with names above and to the left.

    Args:
        rows: images [height, width, 1 or 3], uint8, all of one size.
        column_names: above each column; none, or one each.
        row_names: to the left of each row, of one line or several; none, or one each.

    Returns:
        [sheet_height, sheet_width, 3], uint8.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    font = ImageFont.load_default(size=max(11, min(20, width // 8)))
    left, above = _room(row_names, font)[0], _room(column_names, font)[1]
    # A narrow column may have a long name.
    pitch = max(width, _room(column_names, font)[0] - _MARGIN) + _GAP
    size = (left + columns * pitch + _GAP, above + len(rows) * (height + _GAP) + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(column_names):
        draw.text((left + _GAP + column * pitch + width / 2, above), name, _INK, font, anchor="md")
    for number, row in enumerate(rows):
        top = above + _GAP + number * (height + _GAP)
        if row_names:
            draw.text((left, top + height / 2), row_names[number], _INK, font, anchor="rm")
        for column, image in enumerate(row):
            pixels = np.broadcast_to(image, (height, width, 3))
            sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left + _GAP + column * pitch, top))
    return np.asarray(sheet)


def table_text(table: Mapping[str, Mapping[str, float]]) -> str:
    """Formats row name -> column name -> number as a Markdown table."""
    names = list(next(iter(table.values())))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(f'{numbers[name]:.4g}' for name in names)} |" for row, numbers in table.items()]
    return "\n".join(lines) + "\n"


def _room(names: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[int, int]:
    """(width, height) of the widest and the tallest name, with a margin; (0, 0) without names."""
    if not any(names):
        return 0, 0
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    boxes = [pen.multiline_textbbox((0, 0), name, font) for name in names]
    return round(max(box[2] for box in boxes)) + _MARGIN, round(max(box[3] for box in boxes)) + _MARGIN
