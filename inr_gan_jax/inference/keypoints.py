"""Keypoints of images: built-in landmarks, measured from the image alone, or read from a CSV.

Positions are in [0, 1] of the image, x to the right and y down; the middle of the first pixel is at 0.5 / width. The
built-in landmarks say where the foreground lies, which direction it points and where it ends.

The first line of a CSV names the columns: `seed` or `file`, then an x and a y for each point, `x1,y1,x2,y2,...` or
`nose_x,nose_y,...`.
"""

import csv
import dataclasses
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import Foreground
from inr_gan_jax.inference.latents import MAX_SEED

_NUM_BINS = 256
_EXPECTED = "expected seed,x1,y1,... or file,x1,y1,..."
# Of the heading of an x: `x1` or `nose_x`.
_HEADING = re.compile(r"x_?(?P<behind>.+)|(?P<before>.+)_x", re.IGNORECASE)
# The group that is a direction, and the name of the mean over all groups.
AXIS, ALL = "axis", "all"
RESERVED_GROUPS = (AXIS, ALL)
# Which columns belong together; a point has an x and a y, the axis the cosine and sine of twice its angle.
BUILT_IN_GROUPS: Mapping[str, tuple[str, ...]] = {
    "centroid": ("centroid_x", "centroid_y"),
    AXIS: ("axis_cos2a", "axis_sin2a"),
    "top": ("top_x", "top_y"),
    "bottom": ("bottom_x", "bottom_y"),
    "left": ("left_x", "left_y"),
    "right": ("right_x", "right_y"),
}


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """Positions in images.

    Attributes:
        values: [count, num_columns], float64; rows of images that could not be measured are NaN.
        groups: name of a point (or axis) -> its two columns.
    """

    values: np.ndarray
    groups: Mapping[str, tuple[int, int]]

    @property
    def is_known(self) -> np.ndarray:
        """[count], whether all landmarks of an image are known."""
        return ~np.isnan(self.values.sum(axis=1))

    def chosen(self, rows: np.ndarray) -> "Keypoints":
        """The keypoints of some of the images."""
        return Keypoints(self.values[rows], self.groups)


def is_axis(group: str) -> bool:
    """Whether a group holds the direction of an axis, not a point."""
    return group == AXIS


def built_in_landmarks(images: np.ndarray, foreground: Foreground = "bright") -> Keypoints:
    """Measures the landmarks of images.

    The foreground is above (or below) the image's own threshold (Otsu). Measured are its centroid; the principal axis
    of its second moments, as cos 2a and sin 2a of the angle a from the x to the y axis, so that opposite directions
    are the same; and the middles of its first and last rows and columns.

    Args:
        images: [count, height, width, channels], uint8; channels are averaged.
        foreground: whether it is brighter or darker than the background.

    Returns:
        Keypoints in the groups of `BUILT_IN_GROUPS`; NaN for images of one colour.
    """
    values = np.stack([_of_mask(mask) for mask in foreground_masks(images, foreground)])
    names = [column for columns in BUILT_IN_GROUPS.values() for column in columns]
    groups = {group: (names.index(a), names.index(b)) for group, (a, b) in BUILT_IN_GROUPS.items()}
    return Keypoints(values, groups)


def foreground_masks(images: np.ndarray, foreground: Foreground = "bright") -> np.ndarray:
    """Where the foreground is: [count, height, width], bool; nowhere in images of one colour."""
    grey = images.mean(axis=3)
    thresholds = np.array([otsu_threshold(image) for image in grey])[:, None, None]
    if foreground == "bright":
        return grey > thresholds
    # Images of one colour have no foreground in either case.
    return (grey <= thresholds) & (grey.max(axis=(1, 2), keepdims=True) > thresholds)


def otsu_threshold(image: np.ndarray) -> float:
    """Finds the grey level that best splits an image into two classes.

    Args:
        image: [height, width], in [0, 255].

    Returns:
        The threshold, the largest level of the lower class; the level itself for an image of one colour.

    Source: Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and
    Cybernetics 9(1), 1979: the largest variance between the classes.
    """
    levels = np.rint(image).astype(int)
    histogram = np.bincount(levels.ravel(), minlength=_NUM_BINS).astype(float)
    below = np.cumsum(histogram)
    sums = np.cumsum(histogram * np.arange(_NUM_BINS))
    above = below[-1] - below
    is_split = (below > 0) & (above > 0)
    if not is_split.any():
        return float(levels.max())
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = sums / below - (sums[-1] - sums) / above
    between = np.where(is_split, below * above * difference**2, -1.0)
    return float(np.argmax(between))


def _of_mask(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    if not mask.any():
        return np.full(sum(map(len, BUILT_IN_GROUPS.values())), np.nan)
    rows, columns = np.nonzero(mask)
    y, x = (rows + 0.5) / height, (columns + 0.5) / width
    # Angles as seen in the image, so in square pixels.
    down, right = rows - rows.mean(), columns - columns.mean()
    xx, yy, xy = np.mean(right**2), np.mean(down**2), np.mean(right * down)
    # Half the angle of this vector is that of the axis; a round shape has none.
    vector = np.array([xx - yy, 2 * xy])
    length = np.hypot(*vector)
    axis = vector / length if length else np.zeros(2)
    ends = [
        (x[rows == rows.min()].mean(), y.min()),
        (x[rows == rows.max()].mean(), y.max()),
        (x.min(), y[columns == columns.min()].mean()),
        (x.max(), y[columns == columns.max()].mean()),
    ]
    return np.array([x.mean(), y.mean(), *axis, *np.ravel(ends)])


@dataclasses.dataclass(frozen=True)
class KeypointTable:
    """Keypoints with their images.

    Attributes:
        keypoints: one row per image.
        seeds: of the images; None when they are named by files.
        files: names of the images; None when they are named by seeds.
    """

    keypoints: Keypoints
    seeds: tuple[int, ...] | None
    files: tuple[str, ...] | None


def read_keypoints(path: str | os.PathLike[str]) -> KeypointTable:
    """Reads keypoints from a CSV.

    Raises:
        UserError: with the line, if the file is missing or malformed.
    """
    path = Path(path).expanduser()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(rows) < 2:
        raise UserError(f"{path} holds no keypoints, {_EXPECTED} and one line per image")
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
            raise UserError(f"{path} has the columns {first},{second} in sequence, {_EXPECTED}")
        name = match["behind"] or match["before"]
        if name in groups or name in RESERVED_GROUPS:
            raise UserError(f"{path} has a point {name!r}, whose name is reserved or used twice; rename it")
        groups[name] = (index - 1, index)
    return kind, groups


def _read_values(path: Path, number: int, row: list[str], num_columns: int) -> np.ndarray:
    """Values of a line; empty entries are NaN."""
    if len(row) != num_columns:
        raise UserError(f"{path} has {len(row)} entries in line {number}, expected {num_columns}")
    values = []
    for text in row[1:]:
        try:
            value = float(text) if text.strip() else math.nan
        except ValueError:
            value = math.inf
        if value < 0 or value > 1:
            raise UserError(f"{path} has {text!r} in line {number}, expected positions in [0, 1] of the image")
        values.append(value)
    return np.array(values)
