"""Conversion of images to bytes, magnification, contact sheets."""

from collections.abc import Sequence

import numpy as np

# Frame around the trained square in images that extend beyond it.
TRAINED_BORDER_COLOUR = (230, 60, 60)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Maps [-1, 1] to 0 .. 255, rounded; same shape, values outside are clipped."""
    return np.clip(np.rint((np.asarray(images, np.float64) + 1) * 127.5), 0, 255).astype(np.uint8)


def magnify(images: np.ndarray, factor: int) -> np.ndarray:
    """Repeats each pixel as a square: [..., height, width, channels] to [..., height * factor, width * factor, ...]."""
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def image_grid(
    images: Sequence[np.ndarray] | np.ndarray, columns: int, gap: int = 0, background: int = 255
) -> np.ndarray:
    """Arranges images in a grid, row by row.

    Args:
        images: each [height, width, channels], uint8, all of one size.
        columns: images per row.
        gap: pixels between and around the pictures.
        background: grey level of gaps and of empty places.

    Returns:
        [grid_height, grid_width, channels], uint8.
    """
    height, width, channels = images[0].shape
    rows = -(-len(images) // columns)
    grid_size = (rows * (height + gap) + gap, columns * (width + gap) + gap, channels)
    grid = np.full(grid_size, background, np.uint8)
    for index, image in enumerate(images):
        top = gap + (index // columns) * (height + gap)
        left = gap + (index % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def with_border(image: np.ndarray, box: tuple[int, int, int, int], colour: Sequence[int]) -> np.ndarray:
    """Returns a colour copy of a picture with a one-pixel frame.

    Args:
        image: [height, width, 1 or 3], uint8.
        box: (top, left, bottom, right), the first and last rows and columns inside the frame.
        colour: red, green, blue.

    Returns:
        [height, width, 3], uint8.
    """
    framed = np.broadcast_to(image, (*image.shape[:2], 3)).copy()
    top, left, bottom, right = box
    framed[(top, bottom), left : right + 1] = colour
    framed[top : bottom + 1, (left, right)] = colour
    return framed
