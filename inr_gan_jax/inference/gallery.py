"""Sheets of generated images: the sheets of a run, of magnified trained pixels, and of what lies beyond the border."""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import numpy as np

from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.sheets import labelled_sheet, magnification
from inr_gan_jax.inference.viewports import ZoomedOut, fit_viewport, zoomed_out
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import TRAINED_BORDER_COLOUR, image_grid, magnify, with_border
from inr_gan_jax.ops.rules import Beyond, DensifyRule
from inr_gan_jax.ops.table_lookup import TableRule

NUM_SAMPLES, LARGE_SIDE = 100, 256
_SAMPLE_COLUMNS, _SAMPLE_SIDE = 10, 64
_NUM_LARGE, _PAIRS_PER_ROW = 16, 4
_RULE_COLUMNS, _RULE_SIDE = 8, 128
_GAP = 8


def gallery(loaded: LoadedGenerator, seed: int, rule: DensifyRule = "pointwise") -> Iterator[tuple[str, np.ndarray]]:
    """Yields file name and image of each sheet of a run, all showing the same samples.

    A network that renders only its trained image (`bilinear`, `stylegan2`) gets `samples.png` alone.

    Args:
        loaded: the generator.
        seed: of the first of 100 images.
        rule: of super-resolution and zoom-out.
    """
    modulations = sample_modulations(loaded, range(seed, seed + NUM_SAMPLES))
    yield "samples.png", image_grid(trained_pictures(loaded, modulations, _SAMPLE_SIDE), _SAMPLE_COLUMNS, gap=2)
    if not loaded.generator.is_continuous:
        return
    first, few = select(modulations, slice(_NUM_LARGE)), select(modulations, slice(_RULE_COLUMNS))
    yield "super_resolution.png", super_resolution_sheet(loaded, first, rule)
    yield "rules.png", rules_sheet(loaded, few)
    side = magnification(loaded.generator.size, LARGE_SIDE) * max(loaded.generator.size)
    zoomed = zoom_out_pictures(loaded, first, side, rule=rule)
    yield "zoom_out.png", image_grid(zoomed, 2 * _PAIRS_PER_ROW, gap=_GAP)


def trained_pictures(loaded: LoadedGenerator, modulations: Modulation, side: int) -> np.ndarray:
    """Renders images at the trained size and magnifies their pixels by a whole factor, up to `side`.

    Returns:
        [count, height, width, channels], uint8; images larger than `side` keep their size.
    """
    images = render_bytes(loaded, modulations, loaded.generator.native_viewport)
    return magnify(images, magnification(loaded.generator.size, side))


def zoom_out_pictures(
    loaded: LoadedGenerator, modulations: Modulation, side: int, factor: float = 2.0, **choices: Any
) -> np.ndarray:
    """Renders images of about `side` pixels of the plane around the trained square, whose border is marked in red.

    Args:
        loaded: the generator.
        modulations: of the images, with a leading axis.
        side: longer side of the images in pixels.
        factor: see `zoomed_out`.
        choices: `rule`, `tables` and `antialias` of the viewport.

    Returns:
        [count, height, width, 3], uint8.
    """
    view = zoomed_out(loaded, factor, side / factor / max(loaded.generator.size), **choices)
    return bordered_pictures(loaded, modulations, view)


def bordered_pictures(loaded: LoadedGenerator, modulations: Modulation, view: ZoomedOut) -> np.ndarray:
    """Renders zoomed-out images with the border of the trained square marked: [count, height, width, 3], uint8."""
    images = render_bytes(loaded, modulations, view.viewport)
    return np.stack([with_border(image, view.square, TRAINED_BORDER_COLOUR) for image in images])


def zoom_out_sheet(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, density: float, **choices: Any
) -> np.ndarray:
    """One row per image, the trained border marked; one column per rule of learned tables if the network has any."""
    if not loaded.generator.has_tables:
        images = list(bordered_pictures(loaded, modulations, zoomed_out(loaded, factor, density, **choices)))
        half = -(-len(images) // 2)
        return labelled_sheet([images[:half], images[half:]] if half > 1 else [images])
    tables = choices.get("tables", TableRule())
    columns = []
    for beyond in typing.get_args(Beyond):
        rules = {**choices, "tables": dataclasses.replace(tables, beyond=beyond)}
        columns.append(bordered_pictures(loaded, modulations, zoomed_out(loaded, factor, density, **rules)))
    return labelled_sheet(list(zip(*columns, strict=True)), typing.get_args(Beyond))


def super_resolution_sheet(loaded: LoadedGenerator, modulations: Modulation, rule: DensifyRule) -> np.ndarray:
    """Pairs of the magnified trained image and the same INR rendered more densely over the same area."""
    native = trained_pictures(loaded, modulations, LARGE_SIDE)
    dense = render_bytes(loaded, modulations, fit_viewport(loaded.generator, native.shape[1:3], "stretch", rule=rule))
    pairs = [
        image_grid([left, right], columns=2, gap=1, background=128) for left, right in zip(native, dense, strict=True)
    ]
    return image_grid(pairs, _PAIRS_PER_ROW, gap=_GAP)


def rules_sheet(loaded: LoadedGenerator, modulations: Modulation) -> np.ndarray:
    """One column per image: the magnified trained image, then densification rules `paper`, `all`, `pointwise`."""
    rows = list(trained_pictures(loaded, modulations, _RULE_SIDE))
    size = rows[0].shape[:2]
    for rule in typing.get_args(DensifyRule):
        rows.extend(render_bytes(loaded, modulations, fit_viewport(loaded.generator, size, "stretch", rule=rule)))
    return image_grid(rows, _RULE_COLUMNS, gap=_GAP)
