r"""Style mixing: images of which some layers are of one seed and the others of another.

    python -m inr_gan_jax.tools.style_mix --checkpoint=runs/digits --col_styles=0-1

Mixing happens in the modulation, the same way for every network: each number of an image as an INR belongs to one
layer, and the layers of `--col_styles` come from the column. Layers are counted from coarse to fine, as follows.

- `release` networks: a layer is what one intermediate latent code (ws) gives, so that this is the same as mixing ws by
  index: the layers of a block in order, its coordinates with the first of them, and ToRGB with the first layer of the
  next block. There are num_ws layers.
- `paper` has one code for all layers (num_ws = 1), so codes cannot be mixed. A layer is what the hypernetwork emits for
  one layer of the INR: the connector of a block, where it has one, and its hidden layers in order. The Fourier
  frequencies go with the first of them, and ToRGB with the last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    check_continuous,
    check_size,
    chosen_truncation,
    define_checkpoint_flag,
    define_class_flag,
    define_output_flag,
    define_seeds_flag,
    define_side_flag,
    define_truncation_flags,
    load_checkpoint,
    output_folder,
    save_picture,
    save_record,
)
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import draw_modulations, parse_seeds
from inr_gan_jax.inference.sheets import labelled_sheet, magnification
from inr_gan_jax.ops.image_grid import magnify

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Generator, Modulation

PICTURE_FILE = "style_mix.png"
_CELL_SIDE = 96
# More than any network has, to check a list before one is loaded.
_MOST_LAYERS = 1000


def mix(generator: Generator, rows: Modulation, columns: Modulation, layers: Collection[int]) -> Modulation:
    """Mixes every image of the rows with every image of the columns.

    Args:
        generator: that drew them.
        rows: images as INRs, with a leading axis [num_rows].
        columns: likewise, [num_columns].
        layers: numbers of the layers that come from the columns.

    Returns:
        Images as INRs, with a leading axis [num_rows * num_columns], row by row.
    """
    import jax
    import jax.numpy as jnp

    from inr_gan_jax.inference.pictures import count_of

    num_rows, num_columns = count_of(rows), count_of(columns)

    def choose(number: int, row: Any, column: Any) -> Any:
        if number in layers:
            return jnp.tile(column, (num_rows,) + (1,) * (column.ndim - 1))
        return jnp.repeat(row, num_columns, axis=0)

    return jax.tree.map(choose, generator.layer_numbers, rows, columns)


def mixing_sheet(
    loaded: LoadedGenerator, rows: Modulation, columns: Modulation, layers: Collection[int], side: int | None = None
) -> list[list[np.ndarray]]:
    """The classic grid: images of the columns above, of the rows to the left, their mixtures in between.

    Args:
        loaded: the generator.
        rows: images as INRs, with a leading axis.
        columns: likewise.
        layers: numbers of the layers that come from the columns.
        side: longer side of a picture in pixels; None for the trained size, small pixels drawn as squares.

    Returns:
        Rows of pictures [height, width, channels], uint8; the first one is empty.
    """
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.inference.views import viewport_of_side

    view = viewport_of_side(loaded, side)
    factor = magnification(loaded.generator.size, _CELL_SIDE) if side is None else 1

    def draw(modulations: Modulation) -> list[np.ndarray]:
        return list(magnify(render_bytes(loaded, modulations, view), factor))

    above, beside = draw(columns), draw(rows)
    mixed = draw(mix(loaded.generator, rows, columns, layers))
    starts = range(0, len(mixed), len(above))
    body = [[left, *mixed[start : start + len(above)]] for left, start in zip(beside, starts, strict=True)]
    return [[np.full_like(above[0], 255), *above], *body]


def parse_layers(text: str, generator: Generator) -> tuple[int, ...]:
    """Reads numbers of layers such as "0-3" or "0,2,5-7"; an empty text is the coarser half.

    Raises:
        UserError: one sentence, for anything else, and for layers that the generator does not have.
    """
    count = generator.num_layers
    if not text:
        return tuple(range(count // 2))
    layers = {layer for first, last in layer_ranges(text, count) for layer in range(first, last + 1)}
    return tuple(sorted(layers))


def layer_ranges(text: str, count: int = _MOST_LAYERS) -> list[tuple[int, int]]:
    """Reads (first, last) of every part of a list of layers of a network with `count` of them.

    Raises:
        UserError: for anything but numbers and ranges, and for layers that are not there.
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


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS.flag_values_dict()
    row_seeds, column_seeds = (parse_seeds(values[name], name) for name in ("row_seeds", "col_seeds"))
    side = values["resolution"]
    if side is not None:
        check_size(side, side)
    check_size(len(row_seeds) * (side or 1), len(column_seeds) * (side or 1))
    loaded = load_checkpoint()
    if side is not None:
        check_continuous(loaded, "another --resolution")
    layers = parse_layers(values["col_styles"], loaded.generator)
    folder = output_folder(values["output"])
    drawn_by = (values["class_index"], chosen_truncation())
    rows, columns = (draw_modulations(loaded, seeds, *drawn_by) for seeds in (row_seeds, column_seeds))
    cells = mixing_sheet(loaded, rows, columns, layers, side)
    sheet = labelled_sheet(cells, ["", *map(str, column_seeds)], ["", *map(str, row_seeds)])
    save_picture(folder / PICTURE_FILE, sheet)
    count = loaded.generator.num_layers
    chosen = {"row_seeds": row_seeds, "col_seeds": column_seeds, "col_layers": layers, "num_layers": count}
    save_record(folder, "style_mix", loaded, chosen)
    print(f"{folder / PICTURE_FILE}: layers {', '.join(map(str, layers))} of {count} are those of the column's seed")


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/style_mix")
    define_seeds_flag("row_seeds", "0-5", "Images that give the other layers.")
    define_seeds_flag("col_seeds", "10-17", "Images that give the layers of --col_styles.")
    meaning = "Layers from the column, such as 0-3, coarse to fine; '': the coarser half."
    define_text("col_styles", "", meaning, layer_ranges)
    define_side_flag("resolution", "Longer side of a picture; the trained size by default.")
    define_class_flag()
    define_truncation_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
