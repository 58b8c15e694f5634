"""Interpolates images in z, in w, and in image space: the weights of the INR itself, after modulation.

    python -m inr_gan_jax.tools.interpolate --checkpoint=runs/digits --seeds=0-5 --resolution=256 --formats=gif,mp4

Writes `strip.png`, the path between the first two seeds in all three spaces; the frames of a path through all seeds in
one space; and that path as GIF, WebP or MP4.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_picture, save_record
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_size_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import animation
from inr_gan_jax.inference.choices import SPACES
from inr_gan_jax.ops.image_grid import magnify, to_uint8
from inr_gan_jax.progress import Progress

_MAX_FRAMES = 100_000


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.latent_paths import Interpolation, interpolation_strip

    values = flags.FLAGS
    formats = [name.strip() for name in values.formats]
    for name in formats:
        animation.check_available(name)
    seeds = options.chosen_seeds()
    if len(seeds) < 2:
        raise UserError(f"--seeds is {values.seeds}, expected at least two images to interpolate between")
    loaded = options.load_checkpoint()
    viewport = chosen_viewport(loaded)
    interpolation = Interpolation(loaded, seeds, values.class_index, options.chosen_truncation())
    if values.space not in interpolation.spaces():
        raise UserError(f"{loaded.source} has 3x3 kernels, so its images are not INRs; use --space=w or --space=z")
    path = interpolation.path(values.space, values.closed, values.smooth)
    count = path.num_segments * values.num_frames + (not values.closed)
    if count > _MAX_FRAMES:
        raise UserError(f"{count:,} frames were requested, expected at most {_MAX_FRAMES:,}")
    folder = output_folder(values.output)
    frames_folder = output_folder(folder / "frames")
    sheet, steps = interpolation_strip(interpolation, viewport, values.strip_columns)
    save_picture(folder / "strip.png", sheet)
    files = write_frames(frames_folder, interpolation.images(path, values.num_frames, viewport), count)
    for name in formats:
        animation.save_animation(folder / f"{values.space}.{name}", read_frames(files), values.frames_per_second)
    record = {"viewport": dataclasses.asdict(viewport), "frames": count, "strip_steps": steps}
    save_record(folder, "interpolate", loaded, record)
    print(f"written: {folder}/strip.png, {count} frames, {', '.join(f'{values.space}.{name}' for name in formats)}")


def write_frames(folder: Path, images: Iterable[np.ndarray], count: int) -> list[Path]:
    """Writes frames as PNGs, small ones magnified, and returns their paths.

    Raises:
        UserError: if they cannot be written.
    """
    from inr_gan_jax.inference.latent_paths import FRAME_SIDE
    from inr_gan_jax.inference.sheets import magnification

    files = []
    with Progress("interpolate", count, unit="frames") as progress:
        for index, image in enumerate(images):
            files.append(folder / f"frame_{index:05d}.png")
            save_picture(files[-1], magnify(to_uint8(image), magnification(image.shape[:2], FRAME_SIDE)))
            progress.add(1)
    return files


def read_frames(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """Frames that were written: each [height, width, 1 or 3], uint8."""
    for file in files:
        with Image.open(file) as picture:
            frame = np.asarray(picture)
        yield frame if frame.ndim == 3 else frame[..., None]


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/interpolate")
    options.define_seed_flags("0-3")
    define_size_flags()
    flags.DEFINE_enum("space", "image", SPACES, "Space of the frames; strip.png shows all three.")
    flags.DEFINE_boolean("closed", True, "Return to the first image, for a seamless loop.")
    flags.DEFINE_boolean("smooth", False, "Avoid corners at the images.")
    define_integer("num_frames", 24, "Frames from one image to the next.", 1, _MAX_FRAMES)
    define_integer("frames_per_second", 25, "Frame rate of the animations.", 1, 100)
    define_integer("strip_columns", 9, "Images per row of strip.png.", 2, 100)
    flags.DEFINE_list("formats", ["gif"], f"Animations to write, of {', '.join(animation.FORMATS)}; '' for none.")


if __name__ == "__main__":
    define_flags()
    run(main)
