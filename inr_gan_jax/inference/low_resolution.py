"""Images coarser than trained, which cost less: how much less, and what is lost."""

import fractions
import re
import statistics
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import sampler_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_all
from inr_gan_jax.inference.set_distance import SetDistance
from inr_gan_jax.inference.sheets import labelled_sheet, magnification
from inr_gan_jax.inference.super_resolution import resize_all
from inr_gan_jax.inference.viewports import fit_viewport
from inr_gan_jax.metrics.image_similarity import psnr
from inr_gan_jax.metrics.settings import MetricSettings
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import magnify, to_uint8
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.sampling import count_of

_SHEET_SIDE = 64
# Name of a method -> `antialias` of the viewport.
METHODS: Mapping[str, bool] = {"points": False, "antialias": True}


def parse_fractions(text: str) -> tuple[fractions.Fraction, ...]:
    """Reads fractions of the side such as "1/2,1/4" or "0.5".

    Raises:
        UserError: for anything else.
    """
    parts = []
    for part in text.split(","):
        # No exponents: a number with a billion digits would take forever.
        if not re.fullmatch(r"\s*(\d{1,9}(/0*[1-9]\d{0,8})?|\d{0,9}\.\d{1,9})\s*", part):
            raise UserError(f"fractions are {text!r}, expected fractions of the side such as 1/2,1/4,1/8")
        parts.append(fractions.Fraction(part.strip()))
    if not all(0 < part < 1 for part in parts):
        raise UserError(f"fractions are {text!r}, expected numbers between 0 and 1")
    return tuple(parts)


def coarse_size(native: tuple[int, int], part: fractions.Fraction) -> tuple[int, int]:
    """(height, width) in whole pixels of an image with a fraction of the trained pixels along each side.

    Raises:
        UserError: if no pixel is left, or all are.
    """
    height, width = (round(side * part) for side in native)
    if not height or not width:
        raise UserError(f"an image of {part} of the side has {height} x {width} pixels, expected at least 1 x 1")
    if (height, width) == native:
        raise UserError(f"an image of {part} of the side has all {height} x {width} pixels; choose a smaller fraction")
    return height, width


def part_label(native: tuple[int, int], part: fractions.Fraction) -> str:
    """What is rendered for a fraction: "1/2", "3/8" also for 0.37 of 8, "3x5 of 8x12" where the sides differ."""
    size = coarse_size(native, part)
    rendered = {fractions.Fraction(*sides) for sides in zip(size, native, strict=True)}
    return str(rendered.pop()) if len(rendered) == 1 else f"{size[0]}x{size[1]} of {native[0]}x{native[1]}"


def labelled_parts(native: tuple[int, int], parts: Sequence[fractions.Fraction]) -> dict[str, fractions.Fraction]:
    """The fractions by `part_label`; of those that round to the same pixels, the first."""
    labelled: dict[str, fractions.Fraction] = {}
    for part in parts:
        labelled.setdefault(part_label(native, part), part)
    return labelled


def coarse_view(
    loaded: LoadedGenerator, part: fractions.Fraction, antialias: bool, rule: DensifyRule | None = None
) -> Viewport:
    """The viewport of the whole trained image with a fraction of its pixels along each side, rounded to whole ones.

    Raises:
        UserError: if no pixel is left, or all are.
    """
    size = coarse_size(loaded.generator.size, part)
    rule = rule or loaded.generator.default_rule
    return fit_viewport(loaded.generator, size, "stretch", rule=rule, antialias=antialias)


def set_psnr(images: np.ndarray, reference: np.ndarray) -> float:
    """PSNR in decibels of all images together, [count, height, width, channels] in [-1, 1]; inf if equal."""
    # One image that consists of all of them.
    stacked = ((np.clip(each, -1, 1) + 1).reshape(1, -1, *each.shape[2:]) / 2 for each in (images, reference))
    return float(psnr(*map(jnp.asarray, stacked))[0])


def measure_seconds(
    loaded: LoadedGenerator, modulations: Modulation, views: Mapping[str, Viewport], repetitions: int
) -> dict[str, float]:
    """Seconds per image to render a whole batch, the viewports alternating.

    Args:
        loaded: the generator.
        modulations: of the batch, with a leading axis.
        views: by name.
        repetitions: per viewport; the median counts.
    """
    sampler, count = sampler_of(loaded), count_of(modulations)
    grids = {name: loaded.generator.grids(view) for name, view in views.items()}
    seconds: dict[str, list[float]] = {name: [] for name in views}
    for repetition in range(repetitions + 1):
        for name, each in grids.items():
            started = time.perf_counter()
            jax.block_until_ready(sampler.render_on(modulations, each))
            if repetition:  # the first compiles
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) / count for name, each in seconds.items()}


def compare_coarse(
    loaded: LoadedGenerator,
    modulations: Modulation,
    parts: Sequence[fractions.Fraction],
    measure: str,
    settings: MetricSettings,
    rule: DensifyRule | None = None,
) -> dict[str, dict[str, float]]:
    """Compares coarse images with full ones that were reduced to their size.

    Args:
        loaded: the generator.
        modulations: of the images, with a leading axis.
        parts: fractions of the side.
        measure: see `SetDistance`.
        settings: weights for it.
        rule: None for `Generator.default_rule`.

    Returns:
        "1/2 points" and the like, see `part_label` -> {"psnr": dB, measure: distance of the two sets}.
    """
    full = render_all(loaded, modulations, loaded.generator.native_viewport)
    table = {}
    for part in parts:
        for method, antialias in METHODS.items():
            view = coarse_view(loaded, part, antialias, rule)
            reduced = resize_all(full, (view.height, view.width), "box")
            coarse = render_all(loaded, modulations, view)
            distance = SetDistance(measure, reduced, settings)(coarse) if len(coarse) > 1 else float("nan")
            values = {"psnr": set_psnr(coarse, reduced), measure: distance}
            table[f"{part_label(loaded.generator.size, part)} {method}"] = values
    return table


def low_res_sheet(
    loaded: LoadedGenerator,
    modulations: Modulation,
    parts: Sequence[fractions.Fraction],
    rule: DensifyRule | None = None,
) -> np.ndarray:
    """One column per image: the full image, then for each fraction the reduced, `points` and `antialias` ones."""
    full = render_all(loaded, modulations, loaded.generator.native_viewport)
    factor = magnification(loaded.generator.size, _SHEET_SIDE)
    size = (loaded.generator.size[0] * factor, loaded.generator.size[1] * factor)

    def enlarged(images: np.ndarray) -> list[np.ndarray]:
        return list(to_uint8(resize_all(images, size, "nearest")))

    rows, names = [list(magnify(to_uint8(full), factor))], ["full"]
    for part in parts:
        label = part_label(loaded.generator.size, part)
        rows.append(enlarged(resize_all(full, coarse_size(loaded.generator.size, part), "box")))
        names.append(f"{label} reduced")
        for method, antialias in METHODS.items():
            rows.append(enlarged(render_all(loaded, modulations, coarse_view(loaded, part, antialias, rule))))
            names.append(f"{label} {method}")
    return labelled_sheet(rows, row_names=names)
