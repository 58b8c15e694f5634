"""Pictures to other sizes by the usual filters, to compare an INR with."""

from typing import Literal

import numpy as np
from PIL import Image

Filter = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def resize(
    image: np.ndarray, size: tuple[int, int], name: Filter, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resizes a picture in floating point; where it gets smaller, the filters are widened, as in Pillow.

    Args:
        image: [height, width, channels].
        size: (height, width) of the result.
        name: of the filter.
        box: (left, top, right, bottom) of the part to resize, in pixels of the picture; None for all of it. Filters see
            what lies around the part, so that it equals the same part of the whole picture resized.

    Returns:
        [*size, channels], float32; bicubic and Lanczos may go beyond the range of the picture.
    """
    planes = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), _FILTERS[name], box))
        for plane in np.moveaxis(np.asarray(image, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def resize_all(images: np.ndarray, size: tuple[int, int], name: Filter) -> np.ndarray:
    """Resizes pictures [count, height, width, channels] as `resize`."""
    return np.stack([resize(image, size, name) for image in images])
