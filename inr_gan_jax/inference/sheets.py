"""Sheets for papers: pictures in rows and columns with their names beside them."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _MARGIN = 6, 6
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def magnification(size: tuple[int, int], side: int) -> int:
    """How often to repeat each pixel of a picture of that size so that its longer side comes near `side`."""
    return max(1, side // max(size))


def labelled_sheet(
    rows: Sequence[Sequence[np.ndarray]], column_names: Sequence[str] = (), row_names: Sequence[str] = ()
) -> np.ndarray:
    """Lays pictures out in rows and columns with names above and to the left.

    Args:
        rows: pictures [height, width, 1 or 3], uint8, all of one size.
        column_names: above each column; none at all or one each.
        row_names: to the left of each row, of one line or several; none at all or one each.

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
        for column, picture in enumerate(row):
            pixels = np.broadcast_to(picture, (height, width, 3))
            sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left + _GAP + column * pitch, top))
    return np.asarray(sheet)


def table_text(table: Mapping[str, Mapping[str, float]]) -> str:
    """A table of numbers, name of the row -> name of the column -> number, as Markdown."""
    names = list(next(iter(table.values())))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(f'{numbers[name]:.4g}' for name in names)} |" for row, numbers in table.items()]
    return "\n".join(lines) + "\n"


def _room(names: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[int, int]:
    """(width, height) that the longest and the highest of some names take, with a margin; nothing for no names."""
    if not any(names):
        return 0, 0
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    boxes = [pen.multiline_textbbox((0, 0), name, font) for name in names]
    return round(max(box[2] for box in boxes)) + _MARGIN, round(max(box[3] for box in boxes)) + _MARGIN
