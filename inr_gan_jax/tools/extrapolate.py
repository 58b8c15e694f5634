"""Zooms out: draws the trained square in the middle and what the INR says beyond its border.

    python -m inr_gan_jax.tools.extrapolate --checkpoint=runs/digits --factor=2 --density=16

Nothing in training asks for what lies beyond. Fourier features go on for ever; learned tables do not, so --table_beyond
chooses what they hold there, and the sheet of a network that has tables shows all choices side by side.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.command import run
from inr_gan_jax.inference.latents import take
from inr_gan_jax.inference.sheets import labelled_sheet
from inr_gan_jax.inference.viewports import chosen_rule, define_rule_flags, framed
from inr_gan_jax.ops.image_grid import TRAINED_BORDER_COLOUR, to_uint8, with_border
from inr_gan_jax.ops.rules import Beyond

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.ops.viewport import Viewport

_SHEET_IMAGES = 8
# (top, left, bottom, right), first and last rows and columns.
Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class ZoomedOut:
    """A picture that goes beyond the trained square.

    Attributes:
        viewport: what to draw.
        square: where in it the trained square lies.
    """

    viewport: Viewport
    square: Box


def zoomed_out(loaded: LoadedGenerator, factor: float, density: float = 1.0, **choices: typing.Any) -> ZoomedOut:
    """Lays out a picture whose middle is the trained square, point for point.

    Args:
        loaded: the generator.
        factor: how many times the length of the trained square to show each way, from 1 on; the margins are rounded
            to whole pixels.
        density: drawn pixels a trained one, each way.
        choices: `rule`, `tables` and `antialias` of the viewport.
    """
    native = loaded.generator.size
    height, width = (round(side * density) for side in native)
    inner = framed(loaded.generator, (height, width), "stretch", **choices)
    rows, columns = (round((factor - 1) / 2 * side) for side in (height, width))
    outer = inner.crop(-rows, -columns, height + 2 * rows, width + 2 * columns)
    return ZoomedOut(outer, (rows, columns, rows + height - 1, columns + width - 1))


def zoom_out_sheet(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, density: float, **choices: typing.Any
) -> np.ndarray:
    """One row an image, the trained border marked; a column for each rule of learned tables where there are any."""
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.ops.table_lookup import TableRule

    beyond = typing.get_args(Beyond) if loaded.generator.has_tables else ("",)
    tables = choices.get("tables", TableRule())
    columns = []
    for name in beyond:
        rule = dataclasses.replace(tables, beyond=name) if name else tables
        view = zoomed_out(loaded, factor, density, **{**choices, "tables": rule})
        images = render_bytes(loaded, modulations, view.viewport)
        columns.append([with_border(image, view.square, TRAINED_BORDER_COLOUR) for image in images])
    if len(columns) == 1:
        half = -(-len(columns[0]) // 2)
        return labelled_sheet([columns[0][:half], columns[0][half:]] if half > 1 else [columns[0]])
    return labelled_sheet(list(zip(*columns, strict=True)), beyond)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.pictures import count_of, render_each

    values = flags.FLAGS
    seeds = options.chosen_seeds()
    loaded = options.load_checkpoint()
    options.check_continuous(loaded, "zooming out")
    choices = chosen_rule(loaded.generator)
    native = loaded.generator.size
    options.check_size(*(round(side * values.density * values.factor) for side in native))
    view = zoomed_out(loaded, values.factor, values.density, **choices)
    folder = options.output_folder(values.output)
    modulations = options.chosen_modulations(loaded)
    images = render_each(loaded, modulations, view.viewport)
    for seed, image in options.with_progress("images", seeds, images):
        options.save_picture(folder / f"seed{seed:04d}.png", to_uint8(image))
    first = take(modulations, slice(min(_SHEET_IMAGES, count_of(modulations))))
    sheet = zoom_out_sheet(loaded, first, values.factor, values.density, **choices)
    options.save_picture(folder / "sheet.png", sheet)
    size = (view.viewport.height, view.viewport.width)
    record = {"size": size, "trained_square": view.square, "rule": choices["rule"]}
    options.save_record(folder, "extrapolate", loaded, record)
    print(f"{folder}: sheet.png, the trained border in red, and {len(seeds)} images of {size[0]}x{size[1]} pixels")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/extrapolate")
    options.define_seed_flags("0-7")
    define_float(
        "factor", 2.0, "How many times the length of the trained square to show, each way.", 1, options.MAX_SIDE
    )
    define_float("density", 1.0, "Rendered pixels per trained one, each way.", options.MIN_FACTOR, options.MAX_SIDE)
    define_rule_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
