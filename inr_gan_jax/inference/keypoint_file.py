"""Keypoints of images from a CSV that the user has.

The first line names the columns: `seed` or `file`, then an x and a y for each point, `x1,y1,x2,y2,...` or
`nose_x,nose_y,...`. Positions are in [0, 1] of the picture, x to the right and y down.
"""

import csv
import dataclasses
import math
import os
import re
from pathlib import Path

import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.landmarks import RESERVED_GROUPS, Keypoints
from inr_gan_jax.inference.latents import MAX_SEED

_EXPECTED = "expected seed,x1,y1,... or file,x1,y1,..."
# Of the heading of an x: `x1` or `nose_x`.
_HEADING = re.compile(r"x_?(?P<behind>.+)|(?P<before>.+)_x", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class KeypointTable:
    """Keypoints with the images that they are of.

    Attributes:
        keypoints: one row an image.
        seeds: of the images; None when they are named by files.
        files: names of the images; None when they are named by seeds.
    """

    keypoints: Keypoints
    seeds: tuple[int, ...] | None
    files: tuple[str, ...] | None


def read_keypoints(path: str | os.PathLike[str]) -> KeypointTable:
    """Reads a CSV.

    Raises:
        UserError: naming the line, if the file is missing or anything in it is not as above.
    """
    path = Path(path).expanduser()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(rows) < 2:
        raise UserError(f"{path} holds no keypoints, {_EXPECTED} and a line an image")
    kind, groups = _read_headings(path, [heading.strip() for heading in rows[0]])
    values = np.stack([_read_values(path, number, row, len(rows[0])) for number, row in enumerate(rows[1:], 2)])
    names = [row[0].strip() for row in rows[1:]]
    if len(set(names)) < len(names):
        raise UserError(f"{path} has two lines of the {kind} {next(name for name in names if names.count(name) > 1)}")
    if kind == "file":
        return KeypointTable(Keypoints(values, groups), None, tuple(names))
    for name in names:
        if not name.isascii() or not name.isdigit() or int(name) > MAX_SEED:
            raise UserError(f"{path} has the seed {name!r}, expected a number from 0 to {MAX_SEED}")
    return KeypointTable(Keypoints(values, groups), tuple(map(int, names)), None)


def _read_headings(path: Path, headings: list[str]) -> tuple[str, dict[str, tuple[int, int]]]:
    kind = headings[0].lower()
    if kind not in ("seed", "file") or len(headings) < 3 or len(headings) % 2 == 0:
        raise UserError(f"{path} has the columns {','.join(headings)[:80]}, {_EXPECTED}")
    groups = {}
    for index in range(1, len(headings), 2):
        first, second = headings[index : index + 2]
        match = _HEADING.fullmatch(first)
        partner = re.sub("x", "y", first, count=1) if match and match["behind"] else f"{first[:-1]}y"
        if not match or second.lower() != partner.lower():
            raise UserError(f"{path} has the columns {first},{second} side by side, {_EXPECTED}")
        name = match["behind"] or match["before"]
        if name in groups or name in RESERVED_GROUPS:
            raise UserError(f"{path} has a point {name!r}, whose name is taken, name it otherwise")
        groups[name] = (index - 1, index)
    return kind, groups


def _read_values(path: Path, number: int, row: list[str], num_columns: int) -> np.ndarray:
    """Values of a line; empty ones are NaN."""
    if len(row) != num_columns:
        raise UserError(f"{path} has {len(row)} entries in line {number}, expected {num_columns}")
    values = []
    for text in row[1:]:
        try:
            value = float(text) if text.strip() else math.nan
        except ValueError:
            value = math.inf
        if value < 0 or value > 1:
            raise UserError(f"{path} has {text!r} in line {number}, expected positions in [0, 1] of the picture")
        values.append(value)
    return np.array(values)
