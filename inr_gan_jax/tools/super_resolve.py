"""Draws images denser than trained, beside the usual filters, and measures what that gives.

    python -m inr_gan_jax.tools.super_resolve --checkpoint=runs/digits --factor=8
    python -m inr_gan_jax.tools.super_resolve --checkpoint=runs/digits --factor=8 --num_measured=10000

`sheet.png` lays the same images side by side, by every filter and every densification rule; `table.md` says how sharp
their edges are and, with --num_measured, how far they are from real images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.command import run
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import take
from inr_gan_jax.inference.real_images import define_data_flags, real_images
from inr_gan_jax.inference.set_distance import SetDistance, chosen_settings, define_measure_flags
from inr_gan_jax.inference.sheets import labelled_sheet, table_text
from inr_gan_jax.inference.viewports import chosen_rule, define_rule_flags, framed
from inr_gan_jax.ops.image_grid import to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.ops.table_lookup import TableRule

_SHEET_IMAGES = 8


def dense_size(native: tuple[int, int], factor: float) -> tuple[int, int]:
    """(height, width) of a picture `factor` times denser, rounded to whole pixels."""
    return round(native[0] * factor), round(native[1] * factor)


def super_resolved(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, **choices: Any
) -> Iterator[np.ndarray]:
    """Draws images `factor` times denser than trained.

    Args:
        loaded: the generator.
        modulations: of the images, with a leading axis.
        factor: any number above 0, also 1.7; the size is rounded to whole pixels.
        choices: `rule` (the default of the network unless given), `tables` and `antialias` of the viewport.

    Yields:
        [height, width, channels], about [-1, 1], covering the same area as the trained picture.
    """
    from inr_gan_jax.inference.pictures import render_each

    size = dense_size(loaded.generator.size, factor)
    yield from render_each(loaded, modulations, framed(loaded.generator, size, "stretch", **choices))


def comparison_sheet(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, tables: TableRule | None = None
) -> np.ndarray:
    """One row an image: the trained picture by every filter (nearest shows its pixels), then the INR by every rule."""
    from inr_gan_jax.inference.pictures import render_each
    from inr_gan_jax.inference.upscaling import upscalers

    ways = upscalers(loaded, dense_size(loaded.generator.size, factor), tables)
    native = render_each(loaded, modulations, loaded.generator.native_viewport)
    rows = [
        [to_uint8(way(take(modulations, index), picture)) for way in ways.values()]
        for index, picture in enumerate(native)
    ]
    return labelled_sheet(rows, list(ways))


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.pictures import count_of
    from inr_gan_jax.inference.upscaling import measure_upscalers, upscalers

    values = flags.FLAGS
    seeds, measured = options.chosen_seeds(), options.measured_seeds()
    loaded = options.load_checkpoint()
    options.check_continuous(loaded, "super-resolution")
    size = options.check_size(*dense_size(loaded.generator.size, values.factor))
    choices = chosen_rule(loaded.generator)
    distances = _distances(loaded, size)
    folder = options.output_folder(values.output)
    modulations = options.chosen_modulations(loaded)
    first = take(modulations, slice(min(_SHEET_IMAGES, count_of(modulations))))
    options.save_picture(folder / "sheet.png", comparison_sheet(loaded, first, values.factor, choices["tables"]))
    for seed, image in options.with_progress(
        "images", seeds, super_resolved(loaded, modulations, values.factor, **choices)
    ):
        options.save_picture(folder / f"seed{seed:04d}.png", to_uint8(image))
    ways = upscalers(loaded, size, choices["tables"])
    table = measure_upscalers(loaded, ways, options.modulations_of_seeds(loaded, measured), distances)
    options.save_text(folder / "table.md", table_text(table))
    record = {"size": size, "rule": choices["rule"], **options.sampling_record(measured), "table": table}
    options.save_record(folder, "super_resolve", loaded, record)
    print(table_text(table), end="")
    print(f"{folder}: sheet.png, table.md and {len(seeds)} images by the rule {choices['rule']}")


def _distances(loaded: LoadedGenerator, size: tuple[int, int]) -> Mapping[str, SetDistance]:
    """The distances that the flags ask for, to real images of the trained size and, if there are any, of the dense."""
    values, native = flags.FLAGS, loaded.generator.size
    if not values.num_measured:
        return {}
    if values.num_measured == 1:
        raise UserError("--num_measured is 1, expected 2 or more images for a distance, or 0 for none")
    settings = chosen_settings()
    reduced = real_images(loaded, native)
    distances = {
        f"{values.measure}, reduced to {native[0]}x{native[1]}": SetDistance(values.measure, reduced, settings)
    }
    if values.dense_data_name:
        dense = real_images(loaded, size, values.dense_data_name)
        distances[f"{values.measure}, at {size[0]}x{size[1]}"] = SetDistance(values.measure, dense, settings)
    return distances


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/super_resolve")
    options.define_seed_flags("0-7")
    define_float("factor", 4.0, "How many times denser, each way; any number.", options.MIN_FACTOR, options.MAX_SIDE)
    define_rule_flags()
    options.define_num_measured_flag("those of --seeds, and no distances to real images")
    flags.DEFINE_string("dense_data_name", None, "A prepared set of real images of the dense size.")
    define_measure_flags()
    define_data_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
