"""Draws images coarser than trained, which costs less, and measures how much less and what is lost.

    python -m inr_gan_jax.tools.low_res --checkpoint=runs/digits --fractions=1/2,1/4

Beside each coarse picture stands the full one reduced by the mean over each pixel's area, which is what a coarse
picture should look like. `points` evaluates the INR at the pixels' middles; `antialias` averages every wave over them.
"""

from __future__ import annotations

import fractions
import itertools
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_integer, define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import take
from inr_gan_jax.inference.resampling import resize_all
from inr_gan_jax.inference.set_distance import SetDistance, chosen_settings, define_measure_flags
from inr_gan_jax.inference.sheets import labelled_sheet, magnification, table_text
from inr_gan_jax.inference.viewports import define_rule_flags, framed
from inr_gan_jax.metrics.settings import MetricSettings
from inr_gan_jax.ops.image_grid import magnify, to_uint8
from inr_gan_jax.ops.rules import DensifyRule

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Array, Variables
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Grids, Modulation
    from inr_gan_jax.ops.viewport import Viewport


_SHEET_IMAGES, _SHEET_SIDE = 8, 64
WAYS: Mapping[str, bool] = {"points": False, "antialias": True}


def parse_fractions(text: str) -> tuple[fractions.Fraction, ...]:
    """Reads parts of the side such as "1/2,1/4" or "0.5".

    Raises:
        UserError: for anything else.
    """
    parts = []
    for part in text.split(","):
        # No exponents: a number of a billion digits takes for ever.
        if not re.fullmatch(r"\s*(\d{1,9}(/0*[1-9]\d{0,8})?|\d{0,9}\.\d{1,9})\s*", part):
            raise UserError(f"fractions are {text!r}, expected parts of the side such as 1/2,1/4,1/8")
        parts.append(fractions.Fraction(part.strip()))
    if not all(0 < part < 1 for part in parts):
        raise UserError(f"fractions are {text!r}, expected numbers between 0 and 1")
    return tuple(parts)


def coarse_size(native: tuple[int, int], part: fractions.Fraction) -> tuple[int, int]:
    """(height, width) in whole pixels of a picture with `part` of the trained pixels each way.

    Raises:
        UserError: if no pixel is left, or all are.
    """
    height, width = (round(side * part) for side in native)
    if not height or not width:
        raise UserError(f"a picture of {part} of the side has {height} x {width} pixels, expected at least 1 x 1")
    if (height, width) == native:
        raise UserError(f"a picture of {part} of the side has all {height} x {width} pixels; choose a smaller part")
    return height, width


def part_label(native: tuple[int, int], part: fractions.Fraction) -> str:
    """What is rendered for a part of the side: "1/2", "3/8" also for 0.37 of 8, "3x5 of 8x12" where sides differ."""
    size = coarse_size(native, part)
    done = {fractions.Fraction(*sides) for sides in zip(size, native, strict=True)}
    if len(done) == 1:
        return str(done.pop())
    return f"{size[0]}x{size[1]} of {native[0]}x{native[1]}"


def labelled_parts(native: tuple[int, int], parts: Sequence[fractions.Fraction]) -> dict[str, fractions.Fraction]:
    """The parts by what is rendered for them; of those that are rounded to the same pixels, the first."""
    labelled: dict[str, fractions.Fraction] = {}
    for part in parts:
        labelled.setdefault(part_label(native, part), part)
    return labelled


def coarse_view(
    loaded: LoadedGenerator, part: fractions.Fraction, antialias: bool, rule: DensifyRule | None = None
) -> Viewport:
    """The whole trained picture with `part` of its pixels each way, rounded to whole ones.

    Raises:
        UserError: if no pixel is left, or all are.
    """
    size = coarse_size(loaded.generator.size, part)
    rule = rule or loaded.generator.default_rule
    return framed(loaded.generator, size, "stretch", rule=rule, antialias=antialias)


def psnr(images: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels of images to others, both in [-1, 1]; infinite for equal ones."""
    error = float(np.mean(np.square(np.clip(images, -1, 1) - np.clip(reference, -1, 1))))
    return float("inf") if error == 0 else 10 * float(np.log10(4 / error))


def seconds_of(
    loaded: LoadedGenerator, modulations: Modulation, views: Mapping[str, Viewport], turns: int
) -> dict[str, float]:
    """Seconds an image of `render`, all images of a batch together, views taking turns.

    Args:
        loaded: the generator.
        modulations: of the batch, with a leading axis.
        views: name -> what to draw.
        turns: of each; the median counts.
    """
    import jax

    from inr_gan_jax.inference.pictures import count_of

    generator, count = loaded.generator, count_of(modulations)

    @jax.jit
    def draw(variables: Variables, modulations: Modulation, grids: Grids) -> Array:
        return jax.vmap(lambda one: generator.render_grids(variables, one, grids))(modulations)

    grids_of = {name: generator.grids(view) for name, view in views.items()}
    seconds: dict[str, list[float]] = {name: [] for name in views}
    for turn in range(turns + 1):
        for name, grids in grids_of.items():
            started = time.perf_counter()
            jax.block_until_ready(draw(loaded.variables, modulations, grids))
            if turn:  # the first compiles
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) / count for name, each in seconds.items()}


def compare(
    loaded: LoadedGenerator,
    modulations: Modulation,
    parts: Sequence[fractions.Fraction],
    measure: str,
    settings: MetricSettings,
    rule: DensifyRule | None = None,
) -> dict[str, dict[str, float]]:
    """Compares coarse pictures with full ones that were reduced to their size.

    Args:
        loaded: the generator.
        modulations: of the images.
        parts: of the side.
        measure: see `SetDistance`.
        settings: weights for it.
        rule: None for the default of the network.

    Returns:
        "1/2 points" and the like, see `part_label` -> {"psnr": dB, measure: distance of the two sets}.
    """
    from inr_gan_jax.inference.pictures import render_all

    full = render_all(loaded, modulations, loaded.generator.native_viewport)
    table = {}
    for part in parts:
        for way, antialias in WAYS.items():
            view = coarse_view(loaded, part, antialias, rule)
            reduced = resize_all(full, (view.height, view.width), "box")
            coarse = render_all(loaded, modulations, view)
            distance = SetDistance(measure, reduced, settings)(coarse) if len(coarse) > 1 else float("nan")
            table[f"{part_label(loaded.generator.size, part)} {way}"] = {
                "psnr": psnr(coarse, reduced),
                measure: distance,
            }
    return table


def low_res_sheet(
    loaded: LoadedGenerator,
    modulations: Modulation,
    parts: Sequence[fractions.Fraction],
    rule: DensifyRule | None = None,
) -> np.ndarray:
    """One column an image: the full picture, then for each part the reduced, the `points` and the `antialias` one."""
    from inr_gan_jax.inference.pictures import render_all

    full = render_all(loaded, modulations, loaded.generator.native_viewport)
    factor = magnification(loaded.generator.size, _SHEET_SIDE)
    size = (loaded.generator.size[0] * factor, loaded.generator.size[1] * factor)

    def enlarged(images: np.ndarray) -> list[np.ndarray]:
        return list(to_uint8(resize_all(images, size, "nearest")))

    rows, names = [list(magnify(to_uint8(full), factor))], ["full"]
    for part in parts:
        views = {way: coarse_view(loaded, part, antialias, rule) for way, antialias in WAYS.items()}
        view = views["points"]
        rows.append(enlarged(resize_all(full, (view.height, view.width), "box")))
        label = part_label(loaded.generator.size, part)
        names.append(f"{label} reduced")
        for way, view in views.items():
            rows.append(enlarged(render_all(loaded, modulations, view)))
            names.append(f"{label} {way}")
    return labelled_sheet(rows, row_names=names)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    measured = options.measured_seeds()
    loaded = options.load_checkpoint()
    options.check_continuous(loaded, "a coarser picture")
    rule = loaded.generator.default_rule if values.rule == "auto" else values.rule
    native = loaded.generator.size
    parts = labelled_parts(native, parse_fractions(values.fractions))
    views = {label: coarse_view(loaded, part, values.antialias, rule) for label, part in parts.items()}
    folder, settings = options.output_folder(values.output), chosen_settings()
    modulations = options.modulations_of_seeds(loaded, measured)
    first = take(modulations, slice(min(_SHEET_IMAGES, len(measured))))
    options.save_picture(folder / "sheet.png", low_res_sheet(loaded, first, list(parts.values()), rule))
    table = compare(loaded, modulations, list(parts.values()), values.measure, settings, rule)
    in_turn = list(itertools.islice(itertools.cycle(measured), values.batch_size))
    batch = options.modulations_of_seeds(loaded, in_turn)
    seconds = seconds_of(loaded, batch, {"full": loaded.generator.native_viewport, **views}, values.turns)
    speeds = {name: {"speed-up": seconds["full"] / each, "of the pixels": 1.0} for name, each in seconds.items()}
    for label, view in views.items():
        speeds[label]["of the pixels"] = view.height * view.width / (native[0] * native[1])
    text = f"{table_text(table)}\n{table_text(speeds)}"
    options.save_text(folder / "table.md", text)
    sizes = {label: {"asked": str(parts[label]), "size": [view.height, view.width]} for label, view in views.items()}
    record = {"rule": rule, **options.sampling_record(measured), "parts": sizes, "table": table}
    record["seconds_an_image"] = seconds
    options.save_record(folder, "low_res", loaded, record)
    print(text, end="")
    print(f"{folder}: sheet.png and table.md")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/low_res")
    options.define_seed_flags("0-999")
    define_text("fractions", "1/2,1/4,1/8", "Parts of the side of the trained picture.", parse_fractions)
    define_rule_flags()
    options.define_num_measured_flag("those of --seeds")
    define_integer("batch_size", 16, "Images at a time when time is measured.", 1, 4096)
    define_integer("turns", 9, "How often time is measured.", 1, 10**4)
    define_measure_flags()


if __name__ == "__main__":
    define_flags()
    run(main)
