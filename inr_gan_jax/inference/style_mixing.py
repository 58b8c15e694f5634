"""Style mixing: images with some layers of one image and the others of another.

Mixing happens in the modulation, in the same way for every network: each array of an image as an INR belongs to one
layer. Layers are counted from coarse to fine:

- `release` networks: a layer is what one intermediate latent code (ws) controls, so this equals mixing ws by index: the
  layers of a block in order, its coordinates with the first of them, and ToRGB with the first layer of the next block.
  There are num_ws layers.
- `paper` has one code for all layers (num_ws = 1), so codes cannot be mixed. A layer is what the hypernetwork emits for
  one layer of the INR: the connector of a block, where it has one, and its hidden layers in order. The Fourier
  frequencies belong to the first of them, and ToRGB to the last.
"""

import re
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.sheets import magnification
from inr_gan_jax.inference.viewports import viewport_of_side
from inr_gan_jax.models.generator import Generator, Modulation
from inr_gan_jax.ops.image_grid import magnify
from inr_gan_jax.sampling import count_of

_CELL_SIDE = 96
# More than any network has, to check a list before one is loaded.
_MAX_LAYERS = 1000


def mix_styles(generator: Generator, rows: Modulation, columns: Modulation, layers: Collection[int]) -> Modulation:
    """Mixes every image of the rows with every image of the columns.

    Args:
        generator: of the images.
        rows: images as INRs, with a leading axis [num_rows].
        columns: likewise, [num_columns].
        layers: numbers of the layers to use from the columns.

    Returns:
        Images as INRs, with a leading axis [num_rows * num_columns], row by row.
    """
    num_rows, num_columns = count_of(rows), count_of(columns)

    def choose(number: int, row: Any, column: Any) -> Any:
        if number in layers:
            return jnp.tile(column, (num_rows,) + (1,) * (column.ndim - 1))
        return jnp.repeat(row, num_columns, axis=0)

    return jax.tree.map(choose, generator.layer_numbers, rows, columns)


def mixing_sheet(
    loaded: LoadedGenerator, rows: Modulation, columns: Modulation, layers: Collection[int], side: int | None = None
) -> list[list[np.ndarray]]:
    """The style mixing grid: column images at the top, row images on the left, their mixtures in between.

    Args:
        loaded: the generator.
        rows: images as INRs, with a leading axis.
        columns: likewise.
        layers: numbers of the layers to use from the columns.
        side: longer side of an image in pixels; None for the trained size, small images magnified.

    Returns:
        Rows of images [height, width, channels], uint8; the first cell is empty.
    """
    view = viewport_of_side(loaded, side)
    factor = magnification(loaded.generator.size, _CELL_SIDE) if side is None else 1

    def rendered(modulations: Modulation) -> list[np.ndarray]:
        return list(magnify(render_bytes(loaded, modulations, view), factor))

    top, left = rendered(columns), rendered(rows)
    mixed = rendered(mix_styles(loaded.generator, rows, columns, layers))
    starts = range(0, len(mixed), len(top))
    body = [[image, *mixed[start : start + len(top)]] for image, start in zip(left, starts, strict=True)]
    return [[np.full_like(top[0], 255), *top], *body]


def parse_layers(text: str, generator: Generator) -> tuple[int, ...]:
    """Reads layer numbers such as "0-3" or "0,2,5-7"; an empty text selects the coarser half.

    Raises:
        UserError: for anything else, and for layers that the generator does not have.
    """
    count = generator.num_layers
    if not text:
        return tuple(range(count // 2))
    layers = {layer for first, last in layer_ranges(text, count) for layer in range(first, last + 1)}
    return tuple(sorted(layers))


def layer_ranges(text: str, count: int = _MAX_LAYERS) -> list[tuple[int, int]]:
    """Reads (first, last) of every part of a list of layers of a network with `count` of them.

    Raises:
        UserError: for anything but numbers and ranges, and for layers that do not exist.
    """
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < count:
            example = f"0-{min(count // 2, 3)}"
            raise UserError(
                f"col_styles is {text!r}, expected layers and ranges from 0 to {count - 1}, such as {example}"
            )
        ranges.append((first, last))
    return ranges
