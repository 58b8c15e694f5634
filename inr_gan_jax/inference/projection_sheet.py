"""Projected images compared with the given ones: PSNR, SSIM and a sheet."""

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.inference.code_file import Codes
from inr_gan_jax.inference.gallery import zoom_out_pictures
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.sheets import in_colour, labelled_sheet, magnification
from inr_gan_jax.inference.viewports import viewport_of_side
from inr_gan_jax.metrics.image_similarity import psnr, ssim
from inr_gan_jax.ops.image_grid import magnify

_CELL_SIDE = 128
MAX_NAME = 20


def similarities(real: np.ndarray, projected: np.ndarray) -> dict[str, list[float]]:
    """PSNR in decibels and SSIM of pairs of images [count, height, width, channels], uint8."""
    first, second = (jnp.asarray(images, jnp.float32) / 255 for images in (real, projected))
    values = {"psnr": psnr(first, second), "ssim": ssim(first, second)}
    return {name: [float(value) for value in np.asarray(array)] for name, array in values.items()}


def projection_sheet(loaded: LoadedGenerator, real: np.ndarray, codes: Codes, side: int | None = None) -> np.ndarray:
    """Compares projected images with the given ones, one row per image.

    Args:
        loaded: the generator.
        real: [count, height, width, channels], uint8, of the trained size.
        codes: found for them.
        side: longer side in pixels of the dense images; None for 128 or the trained size.

    Returns:
        [sheet_height, sheet_width, 3], uint8: real, projected, their difference (grey: none), and for continuous
        networks the projected image rendered densely, and zoomed out by 2 with the trained border in red.
    """
    view = loaded.generator.native_viewport
    projected = render_bytes(loaded, codes.modulations, view)
    difference = np.clip(128 + (projected.astype(np.int16) - real) // 2, 0, 255).astype(np.uint8)
    factor = magnification(loaded.generator.size, side or _CELL_SIDE)
    columns = {
        "real": magnify(real, factor),
        "projected": magnify(projected, factor),
        "difference": magnify(difference, factor),
    }
    if loaded.generator.is_continuous:
        dense_side = factor * max(loaded.generator.size)
        dense = render_bytes(loaded, codes.modulations, viewport_of_side(loaded, dense_side))
        columns[f"rendered at {dense.shape[1]}x{dense.shape[2]}"] = dense
        columns["zoomed out by 2"] = zoom_out_pictures(loaded, codes.modulations, dense_side)
    values = similarities(real, projected)
    rows = [
        f"{shorten(name)}\n{decibels:.1f} dB\nSSIM {similarity:.3f}"
        for name, decibels, similarity in zip(codes.names, values["psnr"], values["ssim"], strict=True)
    ]
    cells = [[in_colour(images[index]) for images in columns.values()] for index in range(len(real))]
    return labelled_sheet(cells, list(columns), rows)


def shorten(name: str) -> str:
    """A file name of at most 20 characters."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
