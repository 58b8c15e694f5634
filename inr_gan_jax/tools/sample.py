"""Renders the images of seeds: one file each, and a grid.

python -m inr_gan_jax.tools.sample --checkpoint=runs/digits --seeds=0-63 --resolution=128
"""

from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_images, save_picture, save_record
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_size_flags
from inr_gan_jax.inference.choices import MAX_PIXELS
from inr_gan_jax.inference.latents import MAX_SEEDS
from inr_gan_jax.ops.image_grid import to_uint8


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.pictures import render_each
    from inr_gan_jax.inference.sheets import sample_grid

    seeds = options.chosen_seeds()
    loaded = options.load_checkpoint()
    viewport = chosen_viewport(loaded)
    has_grid = len(seeds) * viewport.height * viewport.width <= MAX_PIXELS
    folder = output_folder(flags.FLAGS.output)
    modulations = options.chosen_modulations(loaded)
    kept: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        for image in map(to_uint8, render_each(loaded, modulations, viewport)):
            if has_grid:
                kept.append(image)
            yield image

    names = save_images(folder, seeds, images())
    if has_grid:
        save_picture(folder / "grid.png", sample_grid(kept, flags.FLAGS.columns))
    size = {"height": viewport.height, "width": viewport.width, "rule": viewport.rule}
    save_record(folder, "sample", loaded, {"seeds": list(seeds), "files": names, "viewport": size})
    print(f"{folder}: {len(names)} images{' and grid.png' if has_grid else ', too large for a grid'}")


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/sample")
    options.define_seed_flags("0-63")
    define_size_flags()
    define_integer("columns", 0, "Images per row of the grid; 0: roughly square.", 0, MAX_SEEDS)


if __name__ == "__main__":
    define_flags()
    run(main)
