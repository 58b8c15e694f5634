"""Landmarks that follow from a picture alone: where its foreground lies, which way it points, where it ends.

Positions are in [0, 1] of the picture, x to the right and y down; the middle of the first pixel is at 0.5 / width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

Foreground = Literal["bright", "dark"]

_NUM_BINS = 256
# The group that is a direction, and what the mean over all groups is called.
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
    """Places in pictures.

    Attributes:
        values: [count, num_columns], float64; rows that could not be measured are NaN.
        groups: name of a point (or axis) -> its two columns.
    """

    values: np.ndarray
    groups: Mapping[str, tuple[int, int]]

    @property
    def is_known(self) -> np.ndarray:
        """[count], whether all of a picture's landmarks could be measured."""
        return ~np.isnan(self.values.sum(axis=1))

    def chosen(self, rows: np.ndarray) -> "Keypoints":
        """The keypoints of some of the pictures."""
        return Keypoints(self.values[rows], self.groups)


def is_axis(group: str) -> bool:
    """Whether a group holds the direction of an axis, not a point."""
    return group == AXIS


def built_in_landmarks(images: np.ndarray, foreground: Foreground = "bright") -> Keypoints:
    """Measures the landmarks of pictures.

    The foreground is what lies above (or below) the picture's own threshold (Otsu). Of it are measured the centroid;
    the principal axis of its second moments, as cos 2a and sin 2a of the angle a from the x to the y axis, so that
    opposite directions are the same; and the middles of its first and last rows and columns.

    Args:
        images: [count, height, width, channels], uint8; channels are averaged.
        foreground: whether it is brighter or darker than the background.

    Returns:
        Keypoints in the groups of `BUILT_IN_GROUPS`; NaN for pictures of one colour.
    """
    values = np.stack([_of_mask(mask) for mask in foreground_masks(images, foreground)])
    names = [column for columns in BUILT_IN_GROUPS.values() for column in columns]
    groups = {group: (names.index(a), names.index(b)) for group, (a, b) in BUILT_IN_GROUPS.items()}
    return Keypoints(values, groups)


def foreground_masks(images: np.ndarray, foreground: Foreground = "bright") -> np.ndarray:
    """Where the foreground is: [count, height, width], bool; nowhere in pictures of one colour."""
    grey = images.mean(axis=3)
    thresholds = np.array([otsu_threshold(image) for image in grey])[:, None, None]
    if foreground == "bright":
        return grey > thresholds
    # Pictures of one colour have no foreground either way.
    return (grey <= thresholds) & (grey.max(axis=(1, 2), keepdims=True) > thresholds)


def otsu_threshold(image: np.ndarray) -> float:
    """Finds the grey level that splits a picture best: levels above it are one class.

    Args:
        image: [height, width], in [0, 255].

    Returns:
        The threshold, the largest level of the lower class; the level itself for a picture of one colour.

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
    # Angles are of the picture as it is seen, so its pixels are squares here.
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
