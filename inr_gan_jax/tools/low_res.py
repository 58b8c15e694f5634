"""Renders images coarser than trained, which costs less, and measures how much less and what is lost.

    python -m inr_gan_jax.tools.low_res --checkpoint=runs/digits --fractions=1/2,1/4

The reference of a coarse image is the full one reduced by averaging over each pixel's area. `points` evaluates the INR
at the pixel centres; `antialias` averages every wave over the pixels.
"""

import itertools
from collections.abc import Sequence

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_integer, define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_picture, save_record, save_text
from inr_gan_jax.cli.viewport_flags import chosen_rule, define_rule_flags

_SHEET_IMAGES = 8


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference import low_resolution
    from inr_gan_jax.inference.latents import select
    from inr_gan_jax.inference.sheets import table_text
    from inr_gan_jax.inference.viewports import check_continuous

    values = flags.FLAGS
    measured = options.measured_seeds()
    loaded = options.load_checkpoint()
    check_continuous(loaded, "a coarser image")
    rule, native = chosen_rule(loaded.generator), loaded.generator.size
    labelled = low_resolution.labelled_parts(native, low_resolution.parse_fractions(values.fractions))
    parts = list(labelled.values())
    views = {
        label: low_resolution.coarse_view(loaded, part, values.antialias, rule) for label, part in labelled.items()
    }
    folder = output_folder(values.output)
    modulations = options.chosen_modulations(loaded, measured)
    first = select(modulations, slice(min(_SHEET_IMAGES, len(measured))))
    save_picture(folder / "sheet.png", low_resolution.low_res_sheet(loaded, first, parts, rule))
    settings = options.chosen_settings()
    table = low_resolution.compare_coarse(loaded, modulations, parts, values.measure, settings, rule)
    batch = options.chosen_modulations(loaded, list(itertools.islice(itertools.cycle(measured), values.batch_size)))
    views = {"full": loaded.generator.native_viewport, **views}
    seconds = low_resolution.measure_seconds(loaded, batch, views, values.repetitions)
    speeds = {
        label: {
            "speed-up": seconds["full"] / seconds[label],
            "share of pixels": view.height * view.width / (native[0] * native[1]),
        }
        for label, view in views.items()
    }
    text = f"{table_text(table)}\n{table_text(speeds)}"
    save_text(folder / "table.md", text)
    sizes = {
        label: {"asked": str(part), "size": [views[label].height, views[label].width]}
        for label, part in labelled.items()
    }
    record = {"rule": rule, **options.sampling_record(measured), "parts": sizes, "table": table}
    save_record(folder, "low_res", loaded, {**record, "seconds_per_image": seconds})
    print(f"{text}{folder}: sheet.png and table.md")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/low_res")
    options.define_seed_flags("0-999")
    define_text("fractions", "1/2,1/4,1/8", "Fractions of the side of the trained image.", _check_fractions)
    define_rule_flags()
    options.define_num_measured_flag("those of --seeds")
    define_integer("batch_size", 16, "Batch size for the time measurement.", 1, 4096)
    define_integer("repetitions", 9, "Repetitions of the time measurement.", 1, 10**4)
    options.define_measure_flags()


def _check_fractions(text: str) -> None:
    from inr_gan_jax.inference.low_resolution import parse_fractions

    parse_fractions(text)


if __name__ == "__main__":
    define_flags()
    run(main)
