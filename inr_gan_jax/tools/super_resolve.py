"""Renders images denser than trained, compares them with the usual filters, and measures the results.

    python -m inr_gan_jax.tools.super_resolve --checkpoint=runs/digits --factor=8
    python -m inr_gan_jax.tools.super_resolve --checkpoint=runs/digits --factor=8 --num_measured=10000

`sheet.png` shows the same images by every filter and every densification rule; `table.md` lists how sharp their edges
are and, with --num_measured, how far they are from real images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_images, save_picture, save_record, save_text
from inr_gan_jax.cli.viewport_flags import chosen_rules, define_rule_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import MAX_SIDE
from inr_gan_jax.inference.real_images import define_data_flags, real_images

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.inference.set_distance import SetDistance

_SHEET_IMAGES = 8


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference import super_resolution
    from inr_gan_jax.inference.latents import select
    from inr_gan_jax.inference.sheets import table_text
    from inr_gan_jax.inference.viewports import check_continuous, check_size

    values = flags.FLAGS
    seeds, measured = options.chosen_seeds(), options.measured_seeds()
    loaded = options.load_checkpoint()
    check_continuous(loaded, "super-resolution")
    size = check_size(*super_resolution.dense_size(loaded.generator.size, values.factor))
    choices = chosen_rules(loaded.generator)
    distances = _distances(loaded, size)
    folder = output_folder(values.output)
    modulations = options.chosen_modulations(loaded)
    first = select(modulations, slice(min(_SHEET_IMAGES, len(seeds))))
    sheet = super_resolution.comparison_sheet(loaded, first, values.factor, choices["tables"])
    save_picture(folder / "sheet.png", sheet)
    save_images(folder, seeds, super_resolution.super_resolved(loaded, modulations, values.factor, **choices))
    methods = super_resolution.upscalers(loaded, size, choices["tables"])
    images = options.chosen_modulations(loaded, measured)
    table = super_resolution.measure_upscalers(loaded, methods, images, distances)
    save_text(folder / "table.md", table_text(table))
    record = {"size": size, "rule": choices["rule"], **options.sampling_record(measured), "table": table}
    save_record(folder, "super_resolve", loaded, record)
    print(table_text(table), end="")
    print(f"{folder}: sheet.png, table.md and {len(seeds)} images with rule {choices['rule']}")


def _distances(loaded: LoadedGenerator, size: tuple[int, int]) -> Mapping[str, SetDistance]:
    """The requested distances to real images of the trained size and, with --dense_data_name, of the dense size."""
    from inr_gan_jax.inference.set_distance import SetDistance

    values, native = flags.FLAGS, loaded.generator.size
    if not values.num_measured:
        return {}
    if values.num_measured == 1:
        raise UserError("--num_measured is 1, expected 2 or more images for a distance, or 0 for none")
    settings, name = options.chosen_settings(), values.measure
    reduced = SetDistance(name, real_images(loaded, native), settings)
    distances = {f"{name}, reduced to {native[0]}x{native[1]}": reduced}
    if values.dense_data_name:
        dense = SetDistance(name, real_images(loaded, size, values.dense_data_name), settings)
        distances[f"{name}, at {size[0]}x{size[1]}"] = dense
    return distances


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/super_resolve")
    options.define_seed_flags("0-7")
    define_float("factor", 4.0, "Linear magnification, any positive number.", options.MIN_FACTOR, MAX_SIDE)
    define_rule_flags()
    options.define_num_measured_flag("those of --seeds, without distances to real images")
    flags.DEFINE_string("dense_data_name", None, "Prepared dataset of real images of the dense size.")
    options.define_measure_flags()
    define_data_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
