"""Zooms out: renders the trained square in the middle and what the INR predicts beyond its border.

    python -m inr_gan_jax.tools.extrapolate --checkpoint=runs/digits --factor=2 --density=16

Training does not constrain what lies beyond. Fourier features extend indefinitely; learned tables do not, so
--table_beyond chooses their values there, and the sheet of a network with tables shows all choices.
"""

from collections.abc import Sequence

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_images, save_picture, save_record
from inr_gan_jax.cli.viewport_flags import chosen_rules, define_rule_flags
from inr_gan_jax.inference.choices import MAX_SIDE

_SHEET_IMAGES = 8


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.gallery import zoom_out_sheet
    from inr_gan_jax.inference.latents import select
    from inr_gan_jax.inference.pictures import render_each
    from inr_gan_jax.inference.viewports import check_continuous, check_size, zoomed_out

    factor, density = flags.FLAGS.factor, flags.FLAGS.density
    seeds = options.chosen_seeds()
    loaded = options.load_checkpoint()
    check_continuous(loaded, "zooming out")
    choices = chosen_rules(loaded.generator)
    check_size(*(round(side * density * factor) for side in loaded.generator.size))
    view = zoomed_out(loaded, factor, density, **choices)
    folder = output_folder(flags.FLAGS.output)
    modulations = options.chosen_modulations(loaded)
    save_images(folder, seeds, render_each(loaded, modulations, view.viewport))
    first = select(modulations, slice(min(_SHEET_IMAGES, len(seeds))))
    save_picture(folder / "sheet.png", zoom_out_sheet(loaded, first, factor, density, **choices))
    size = (view.viewport.height, view.viewport.width)
    record = {"size": size, "trained_square": view.square, "rule": choices["rule"]}
    save_record(folder, "extrapolate", loaded, record)
    print(f"{folder}: sheet.png with the trained border in red, and {len(seeds)} images of {size[0]}x{size[1]} pixels")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/extrapolate")
    options.define_seed_flags("0-7")
    define_float("factor", 2.0, "Side of the rendered square relative to the trained one.", 1, MAX_SIDE)
    define_float("density", 1.0, "Rendered pixels per trained pixel along a side.", options.MIN_FACTOR, MAX_SIDE)
    define_rule_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
