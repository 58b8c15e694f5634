"""From image to image: in z, in w, and in image space: the weights of the INR itself, after modulation.

    python -m inr_gan_jax.tools.interpolate --checkpoint=runs/digits --seeds=0-5 --resolution=256 --formats=gif,mp4

In image space every step is a mean of two plain networks; modulation is linear in w, so mixing that would be mixing w.
Writes `strip.png`, the way between the first two seeds in all three spaces; the frames of a loop through all seeds in
one space; and the loop as GIF, WebP or MP4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from PIL import Image

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    chosen_seeds,
    chosen_truncation,
    define_checkpoint_flag,
    define_output_flag,
    define_seed_flags,
    load_checkpoint,
    output_folder,
    save_picture,
    save_record,
)
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import animation
from inr_gan_jax.inference.latent_paths import SPACES, Route, Space
from inr_gan_jax.inference.latents import Truncation, intermediate_codes, labels, latents, modulations_of, take
from inr_gan_jax.inference.sheets import labelled_sheet
from inr_gan_jax.inference.viewports import chosen_viewport, define_size_flags
from inr_gan_jax.metrics.progress import Progress
from inr_gan_jax.ops.image_grid import magnify, to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Array
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.ops.viewport import Viewport

_SHOWN_SIDE = 128
_MAX_FRAMES = 100_000
_LABELS = {"z": "z (slerp)", "w": "w", "image": "image"}


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """Ways between the images of one generator.

    Attributes:
        loaded: the generator.
        seeds: the images.
        class_index: of a conditional generator; None for all classes in turn.
        truncation: of the intermediate codes; None for none.
    """

    loaded: LoadedGenerator
    seeds: Sequence[int]
    class_index: int | None = None
    truncation: Truncation | None = None

    def route(self, space: Space, is_closed: bool = False, is_smooth: bool = False) -> Route:
        """The way through all images in one space."""
        import jax

        from inr_gan_jax.inference.baked_weights import bake

        z = np.asarray(latents(self.loaded, self.seeds))
        c = labels(self.loaded, len(self.seeds), self.class_index)
        points = [{"z": z[index], "c": None if c is None else np.asarray(c[index])} for index in range(len(z))]
        if space == "w":
            points = [self._ws(point) for point in points]
        elif space == "image":
            weights = (bake(self.loaded, self._modulation(self._ws(point))) for point in points)
            points = [jax.device_get(each) for each in weights]
        return Route(points, space, is_closed, is_smooth)

    def image(self, point: Any, space: Space, viewport: Viewport) -> np.ndarray:
        """Draws a point of a space: [height, width, channels], about [-1, 1].

        One at a time, so that an image is the same numbers whatever its neighbours are.
        """
        from inr_gan_jax.inference.baked_weights import baked_generator
        from inr_gan_jax.inference.pictures import render

        if space == "image":
            return render(baked_generator(self.loaded, point), point.modulation, viewport)
        ws = self._ws(point) if space == "z" else point
        return render(self.loaded, self._modulation(ws), viewport)

    def images(self, route: Route, num_frames: int, viewport: Viewport) -> Iterator[np.ndarray]:
        """Draws the points of a way, `num_frames` a segment."""
        for point in route.points(num_frames):
            yield self.image(point, route.space, viewport)

    def spaces(self) -> list[Space]:
        """The spaces that the network has; kernels of 3x3 make no INR."""
        return [space for space in SPACES if space != "image" or self.loaded.generator.is_pointwise]

    def _modulation(self, ws: np.ndarray) -> Modulation:
        import jax.numpy as jnp

        return take(modulations_of(self.loaded, jnp.asarray(ws)[None]), 0)

    def _ws(self, point: Mapping[str, Any]) -> np.ndarray:
        import jax.numpy as jnp

        z: Array = jnp.asarray(point["z"])[None]
        c = None if point["c"] is None else jnp.asarray(point["c"])[None]
        return np.asarray(intermediate_codes(self.loaded, z, c, self.truncation)[0])


def strip(interpolation: Interpolation, viewport: Viewport, columns: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Lays the ways between the first two images under each other, one row a space.

    Returns:
        The picture, and for each space how far an image is from the next, root mean square in [-1, 1].
    """
    pair = dataclasses.replace(interpolation, seeds=interpolation.seeds[:2])
    rows: list[list[np.ndarray]] = []
    steps: dict[str, Any] = {}
    for space in interpolation.spaces():
        images = np.stack(list(pair.images(pair.route(space), columns - 1, viewport)))
        rms = np.sqrt(np.mean(np.square(np.diff(images, axis=0)), axis=(1, 2, 3)))
        steps[space] = {"length": float(rms.sum()), "largest": float(rms.max()), "mean": float(rms.mean())}
        factor = max(1, _SHOWN_SIDE // max(images.shape[1:3]))
        rows.append(list(magnify(to_uint8(images), factor)))
    shares = [f"{index / (columns - 1):.3g}" for index in range(columns)]
    names = [f"t = {shares[0]}", *shares[1:]]
    return labelled_sheet(rows, names, [_LABELS[space] for space in steps]), steps


def write_frames(folder: Path, images: Iterator[np.ndarray], count: int) -> list[Path]:
    """Writes frames as PNGs and returns their paths; small pictures with their pixels as squares.

    Raises:
        UserError: if they cannot be written.
    """
    paths = []
    with Progress("interpolate", count, unit="frames") as progress:
        for index, image in enumerate(images):
            path = folder / f"frame_{index:05d}.png"
            factor = max(1, _SHOWN_SIDE // max(image.shape[:2]))
            save_picture(path, magnify(to_uint8(image), factor))
            paths.append(path)
            progress.add(1)
    return paths


def read_frames(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Frames that were written: each [height, width, 1 or 3], uint8."""
    for path in paths:
        with Image.open(path) as picture:
            frame = np.asarray(picture)
        yield frame if frame.ndim == 3 else frame[..., None]


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    formats = _checked_formats()
    seeds = chosen_seeds()
    if len(seeds) < 2:
        raise UserError("--seeds has one image, expected at least two to go between")
    loaded = load_checkpoint()
    viewport = chosen_viewport(loaded)
    interpolation = Interpolation(loaded, seeds, values.class_index, chosen_truncation())
    if values.space not in interpolation.spaces():
        raise UserError(f"{loaded.source} has kernels of 3x3, so its pictures are no INRs; take --space=w or --space=z")
    route = interpolation.route(values.space, values.closed, values.smooth)
    count = route.num_segments * values.num_frames + (not values.closed)
    if count > _MAX_FRAMES:
        raise UserError(f"{count:,} frames were asked for, expected at most {_MAX_FRAMES:,}")
    folder = output_folder(values.output)
    frames_folder = output_folder(folder / "frames")
    sheet, steps = strip(interpolation, viewport, values.strip_columns)
    save_picture(folder / "strip.png", sheet)
    paths = write_frames(frames_folder, interpolation.images(route, values.num_frames, viewport), count)
    for name in formats:
        animation.save_animation(folder / f"{values.space}.{name}", read_frames(paths), values.frames_per_second)
    record = {"viewport": dataclasses.asdict(viewport), "frames": count, "strip_steps": steps}
    save_record(folder, "interpolate", loaded, record)
    print(f"written: {folder}/strip.png, {count} frames, {', '.join(f'{values.space}.{name}' for name in formats)}")


def _checked_formats() -> list[str]:
    formats = [name.strip() for name in flags.FLAGS.formats]
    for name in formats:
        animation.check_available(name)
    return formats


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/interpolate")
    define_seed_flags("0-3")
    define_size_flags()
    flags.DEFINE_enum("space", "image", SPACES, "Of the frames; strip.png shows all three.")
    flags.DEFINE_boolean("closed", True, "Lead back to the first image, for a loop without a jump.")
    flags.DEFINE_boolean("smooth", False, "Without corners at the images.")
    define_integer("num_frames", 24, "Frames from one image to the next.", 1, _MAX_FRAMES)
    define_integer("frames_per_second", 25, "Of the animations.", 1, 100)
    define_integer("strip_columns", 9, "Images a row of strip.png.", 2, 100)
    flags.DEFINE_list("formats", ["gif"], f"Animations to write, of {', '.join(animation.FORMATS)}; '' for none.")


if __name__ == "__main__":
    define_flags()
    run(main)
