"""Style mixing: images with the layers --col_styles of one seed and the others of another.

    python -m inr_gan_jax.tools.style_mix --checkpoint=runs/digits --col_styles=0-1

Layers are counted from coarse to fine; inference/style_mixing.py says what belongs to which.
"""

from collections.abc import Sequence

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_picture, save_record
from inr_gan_jax.inference.latents import parse_seeds

PICTURE_FILE = "style_mix.png"


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.sheets import labelled_sheet
    from inr_gan_jax.inference.style_mixing import mixing_sheet, parse_layers
    from inr_gan_jax.inference.viewports import check_continuous, check_size

    values = flags.FLAGS.flag_values_dict()
    row_seeds, column_seeds = (parse_seeds(values[name], name) for name in ("row_seeds", "col_seeds"))
    side = values["resolution"]
    if side is not None:
        check_size(side, side)
    check_size(len(row_seeds) * (side or 1), len(column_seeds) * (side or 1))
    loaded = options.load_checkpoint()
    if side is not None:
        check_continuous(loaded, "another --resolution")
    layers = parse_layers(values["col_styles"], loaded.generator)
    folder = output_folder(values["output"])
    rows, columns = (options.chosen_modulations(loaded, seeds) for seeds in (row_seeds, column_seeds))
    cells = mixing_sheet(loaded, rows, columns, layers, side)
    sheet = labelled_sheet(cells, ["", *map(str, column_seeds)], ["", *map(str, row_seeds)])
    save_picture(folder / PICTURE_FILE, sheet)
    count = loaded.generator.num_layers
    chosen = {"row_seeds": row_seeds, "col_seeds": column_seeds, "col_layers": layers, "num_layers": count}
    save_record(folder, "style_mix", loaded, chosen)
    print(f"{folder / PICTURE_FILE}: layers {', '.join(map(str, layers))} of {count} are those of the column's seed")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/style_mix")
    options.define_seeds_flag("row_seeds", "0-5", "Images that provide the other layers.")
    options.define_seeds_flag("col_seeds", "10-17", "Images that provide the layers of --col_styles.")
    meaning = "Layers from the column, such as 0-3, coarse to fine; '': the coarser half."
    define_text("col_styles", "", meaning, _check_layers)
    options.define_side_flag("resolution", "Longer side of an image; the trained size by default.")
    options.define_class_flag()
    options.define_truncation_flags()


def _check_layers(text: str) -> None:
    from inr_gan_jax.inference.style_mixing import layer_ranges

    layer_ranges(text)


if __name__ == "__main__":
    define_flags()
    run(main)
