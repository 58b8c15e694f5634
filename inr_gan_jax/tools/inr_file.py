"""Renders the file of one image, without the generator that it came from.

python -m inr_gan_jax.tools.export --checkpoint=runs/digits --seeds=3 --inr=image.inr.safetensors
python -m inr_gan_jax.tools.inr_file image.inr.safetensors --height=1024
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import define_output_flag
from inr_gan_jax.cli.output import output_folder, save_picture, save_record
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_viewport_flags
from inr_gan_jax.inference.choices import INR_SUFFIX
from inr_gan_jax.ops.image_grid import to_uint8


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    from inr_gan_jax.inference.inr_file import load_inr
    from inr_gan_jax.inference.pictures import render

    path = Path(arguments[1])
    loaded, modulation = load_inr(path)
    viewport = chosen_viewport(loaded)
    folder = output_folder(flags.FLAGS.output)
    picture = folder / f"{path.name.removesuffix(INR_SUFFIX)}.png"
    save_picture(picture, to_uint8(render(loaded, modulation, viewport)))
    save_record(folder, "inr_file", loaded, {"file": str(path), "viewport": dataclasses.asdict(viewport)})
    size = path.expanduser().stat().st_size
    print(f"{picture}: {viewport.height} x {viewport.width} pixels of {size:,} bytes of weights")


def define_flags() -> None:
    """Defines the flags of the command."""
    define_output_flag("pictures/inr_file")
    define_viewport_flags()


if __name__ == "__main__":
    define_flags()
    run(main, argument="the file of one image (such as image.inr.safetensors)")
