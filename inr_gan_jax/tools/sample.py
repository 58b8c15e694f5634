"""Draws images of seeds: one file each, and a grid.

python -m inr_gan_jax.tools.sample --checkpoint=runs/digits --seeds=0-63 --resolution=128
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    MAX_PIXELS,
    chosen_modulations,
    chosen_seeds,
    define_checkpoint_flag,
    define_output_flag,
    define_seed_flags,
    load_checkpoint,
    output_folder,
    save_picture,
    save_record,
    with_progress,
)
from inr_gan_jax.inference.latents import MAX_SEEDS
from inr_gan_jax.inference.sheets import magnification
from inr_gan_jax.inference.viewports import chosen_viewport, define_size_flags
from inr_gan_jax.ops.image_grid import image_grid, magnify, to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.ops.viewport import Viewport

# A picture in the grid is repeated pixel by pixel up to about this side.
_GRID_SIDE = 64
_GRID_GAP = 2


def samples(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport | None = None) -> Iterator[np.ndarray]:
    """Yields the images [height, width, channels], uint8, of modulations with a leading axis.

    Args:
        loaded: the generator.
        modulations: see `codes.draw_modulations`.
        viewport: where to sample; None for the trained picture.
    """
    from inr_gan_jax.inference.pictures import render_each

    for image in render_each(loaded, modulations, viewport or loaded.generator.native_viewport):
        yield to_uint8(image)


def sample_grid(images: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    """Lays samples out in a grid, small ones with their pixels as squares.

    Args:
        images: each [height, width, channels], uint8, of one size.
        columns: pictures a row; 0 for a grid about as high as wide.

    Returns:
        [grid_height, grid_width, channels], uint8.
    """
    factor = magnification(images[0].shape[:2], _GRID_SIDE)
    height, width = images[0].shape[:2]
    columns = columns or max(1, round((len(images) * height / width) ** 0.5))
    return image_grid(magnify(np.stack(images), factor), min(columns, len(images)), gap=_GRID_GAP)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    seeds = chosen_seeds()
    loaded = load_checkpoint()
    viewport = chosen_viewport(loaded)
    in_grid = len(seeds) * viewport.height * viewport.width <= MAX_PIXELS
    folder = output_folder(values.output)
    modulations = chosen_modulations(loaded)
    kept: list[np.ndarray] = []
    names: list[str] = []
    for seed, image in with_progress("images", seeds, samples(loaded, modulations, viewport)):
        names.append(f"seed{seed:04d}.png")
        save_picture(folder / names[-1], image)
        if in_grid:
            kept.append(image)
    if in_grid:
        save_picture(folder / "grid.png", sample_grid(kept, values.columns))
    size = {"height": viewport.height, "width": viewport.width, "rule": viewport.rule}
    save_record(folder, "sample", loaded, {"seeds": list(seeds), "files": names, "viewport": size})
    print(f"{Path(folder)}: {len(names)} images{' and grid.png' if in_grid else ', too large for a grid'}")


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/sample")
    define_seed_flags("0-63")
    define_size_flags()
    define_integer("columns", 0, "Pictures per row of the grid; 0: about as high as wide.", 0, MAX_SEEDS)


if __name__ == "__main__":
    define_flags()
    run(main)
