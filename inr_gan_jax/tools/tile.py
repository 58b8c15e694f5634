r"""Any rectangle of the plane at any density, also far larger than memory, as an image that viewers can zoom.

    python -m inr_gan_jax.tools.tile --checkpoint=runs/digits --seeds=3 --height=16384
    python -m inr_gan_jax.tools.tile --checkpoint=runs/digits --seeds=3 --height=20000 --top=-0.5 --left=-0.5 \
        --height_extent=2 --width_extent=2 --format=dzi

--checkpoint also accepts the file of one image (.inr.safetensors). The image is rendered in pieces; after a kill, the
same command resumes where it stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_record
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_viewport_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import INR_SUFFIX
from inr_gan_jax.inference.pyramid import FORMATS, PyramidOptions, check_available

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    pyramid = PyramidOptions(flags.FLAGS.format, flags.FLAGS.jpeg_quality)
    check_available(pyramid)
    from inr_gan_jax.inference.tiling import check_tile_size, cut_pieces, render_tiled

    loaded, modulation = _chosen_image()
    viewport = chosen_viewport(loaded, check_tile_size)
    folder = output_folder(flags.FLAGS.output)
    path = render_tiled(loaded, modulation, viewport, folder, pyramid)
    record = {"viewport": dataclasses.asdict(viewport), "pieces": len(cut_pieces(viewport))}
    save_record(folder, "tile", loaded, {**record, "picture": path.name, "bytes": path.stat().st_size})
    print(f"written: {path}, {viewport.height} x {viewport.width} pixels")


def _chosen_image() -> tuple[LoadedGenerator, Modulation]:
    """The image of --checkpoint and the seed flags."""
    from inr_gan_jax.inference.inr_file import load_inr
    from inr_gan_jax.inference.latents import select

    if str(flags.FLAGS.checkpoint).endswith(INR_SUFFIX):
        return load_inr(flags.FLAGS.checkpoint)
    seeds = options.chosen_seeds()
    if len(seeds) != 1:
        raise UserError(f"--seeds has {len(seeds)} images, expected one; render them one by one")
    loaded = options.load_checkpoint()
    return loaded, select(options.chosen_modulations(loaded, seeds), 0)


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/tile")
    options.define_seed_flags("0")
    define_viewport_flags()
    flags.DEFINE_enum("format", "tiff", FORMATS, "TIFF with a pyramid, Deep Zoom, or one plain PNG.")
    define_integer("jpeg_quality", None, "Quality of lossy tiles; lossless by default.", 1, 100)


if __name__ == "__main__":
    define_flags()
    run(main)
