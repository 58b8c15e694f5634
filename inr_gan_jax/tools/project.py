r"""Real images as INRs: looks for the code, or the INR, that draws a given picture, and draws it further.

    python -m inr_gan_jax.tools.project --checkpoint=runs/digits --images=mine.png,folder/of/images
    python -m inr_gan_jax.tools.project --checkpoint=runs/digits --data_indices=0-7 --space=modulation

Spaces: `w`, one intermediate code; `w+`, num_ws of them (for `paper`, which has one, w+ is w); `modulation`, all the
numbers of the INR that an image has. What is found is a normal INR of the generator, kept in `codes.safetensors`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_float, define_integer, define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    check_size,
    define_checkpoint_flag,
    define_output_flag,
    define_seeds_flag,
    define_side_flag,
    load_checkpoint,
    output_folder,
    save_picture,
    save_record,
)
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.code_file import SPACES, Codes, save_codes
from inr_gan_jax.inference.latents import MAX_SEED, MAX_SEEDS, parse_seeds
from inr_gan_jax.inference.perceptual_features import FEATURES_NAMES, WEIGHTS_FLAGS, check_features, load_features
from inr_gan_jax.inference.sheets import labelled_sheet, magnification
from inr_gan_jax.ops.image_grid import magnify

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

PICTURE_FILE = "projection.png"
CODES_FILE = "codes"
_CELL_SIDE = 128
_MAX_NAME = 20
_MAX_WEIGHT = 1e6


def similarities(real: np.ndarray, projected: np.ndarray) -> dict[str, list[float]]:
    """PSNR in decibels and SSIM of pairs of pictures [count, height, width, channels], uint8."""
    import jax.numpy as jnp

    from inr_gan_jax.metrics.image_similarity import psnr, ssim

    first, second = (jnp.asarray(images, jnp.float32) / 255 for images in (real, projected))
    values = {"psnr": psnr(first, second), "ssim": ssim(first, second)}
    return {name: [float(value) for value in np.asarray(array)] for name, array in values.items()}


def projection_sheet(loaded: LoadedGenerator, real: np.ndarray, codes: Codes, side: int | None = None) -> np.ndarray:
    """Draws what was found beside what was given, a row a picture.

    Args:
        loaded: the generator.
        real: [count, height, width, channels], uint8, of the trained size.
        codes: found for them.
        side: longer side in pixels of the pictures that are drawn denser; None for 128 or the trained size.

    Returns:
        [sheet_height, sheet_width, 3], uint8: real, projected, their difference (grey: none), and for networks that
        draw more than their trained picture the projected one drawn densely, and zoomed out by 2, its border in red.
    """
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.inference.views import in_colour, viewport_of_side, zoom_out_pictures

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
        columns[f"drawn at {dense.shape[1]}x{dense.shape[2]}"] = dense
        columns["zoomed out by 2"] = zoom_out_pictures(loaded, codes.modulations, dense_side)
    found = similarities(real, projected)
    rows = [
        f"{_shortened(name)}\n{decibels:.1f} dB\nSSIM {similarity:.3f}"
        for name, decibels, similarity in zip(codes.names, found["psnr"], found["ssim"], strict=True)
    ]
    cells = [[in_colour(images[index]) for images in columns.values()] for index in range(len(real))]
    return labelled_sheet(cells, list(columns), rows)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _given_pictures(loaded: LoadedGenerator, values: dict[str, Any]) -> tuple[np.ndarray, list[str], Any]:
    """Pictures [count, height, width, channels], uint8, their names and classes."""
    from inr_gan_jax.inference.real_pictures import picture_files, read_from_data_set, read_pictures

    if bool(values["images"]) == bool(values["data_indices"]):
        raise UserError("give either --images or --data_indices")
    classes = parse_classes(values["classes"])
    if values["images"]:
        files = picture_files(values["images"])
        return read_pictures(loaded, files), [path.name for path in files], classes
    indices = parse_seeds(values["data_indices"], "data_indices")
    pictures, labels = read_from_data_set(loaded, indices)
    return pictures, [f"image {index}" for index in indices], classes or ([] if labels is None else labels)


def parse_classes(text: str) -> list[int]:
    """Reads a list of classes such as "0,3,5"; an empty text holds none.

    Raises:
        UserError: for anything else.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    for part in parts:
        if not re.fullmatch(r"[0-9]{1,7}", part):
            raise UserError(f"classes holds {part!r}, expected whole numbers from 0 on, such as 0,3,5")
    return [int(part) for part in parts]


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.inference.projection import ProjectionSettings, project
    from inr_gan_jax.inference.real_pictures import one_hot_labels

    values = flags.FLAGS.flag_values_dict()
    if values["resolution"] is not None:
        check_size(values["resolution"], values["resolution"])
    loaded = load_checkpoint()
    real, names, classes = _given_pictures(loaded, values)
    labels = one_hot_labels(loaded, classes, len(real))
    features = load_features(values["features"], {option.flag: values[option.flag] for option in WEIGHTS_FLAGS})
    check_features(features, *loaded.generator.size, loaded.generator.channels)
    folder = output_folder(values["output"])
    settings = ProjectionSettings(
        space=values["space"],
        num_steps=values["num_steps"],
        learning_rate=values["learning_rate"],
        initial_noise=values["initial_noise"],
        pixel_weight=values["pixel_weight"],
        feature_weight=values["feature_weight"],
        num_samples=values["num_samples"],
        seed=values["seed"],
    )
    projection = project(loaded, real / 127.5 - 1, names, settings, labels, features)
    path = folder / f"{CODES_FILE}.{values['codes_format']}"
    save_codes(path, projection.codes)
    save_picture(folder / PICTURE_FILE, projection_sheet(loaded, real, projection.codes, values["resolution"]))
    native = render_bytes(loaded, projection.codes.modulations, loaded.generator.native_viewport)
    found = similarities(real, native)
    losses = {"first_loss": projection.losses[0].tolist(), "last_loss": projection.losses[-1].tolist()}
    save_record(folder, "project", loaded, {"images": names, "codes": path.name, **found, **losses})
    print(_summary(folder, names, found, path))


def _summary(folder: Path, names: Sequence[str], found: dict[str, list[float]], path: Path) -> str:
    lines = [
        f"{name:<{_MAX_NAME}} PSNR {decibels:6.2f} dB, SSIM {similarity:.4f}"
        for name, decibels, similarity in zip(names, found["psnr"], found["ssim"], strict=True)
    ]
    return "\n".join([*lines, f"{folder / PICTURE_FILE} shows them, {path} keeps what was found"])


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/project")
    flags.DEFINE_list("images", [], "Image files, and folders of them.")
    define_seeds_flag("data_indices", "", "Instead: images of the data set of the run, such as 0-7.")
    define_text("classes", "", "Of a conditional generator: one class for all images, or one for each.", parse_classes)
    flags.DEFINE_enum("space", "w+", SPACES, "What is looked for.")
    flags.DEFINE_enum("features", "none", FEATURES_NAMES, "Network that pictures are compared by, beside pixels.")
    define_float("pixel_weight", 1.0, "Of the mean squared difference of pixels.", 0, _MAX_WEIGHT)
    define_float("feature_weight", 1.0, "Of the distance of features.", 0, _MAX_WEIGHT)
    define_integer("num_steps", 1000, "Steps of gradient descent.", 1, 10**6)
    define_float("learning_rate", 0.1, "Highest rate, in deviations of the code.", 0, 100)
    define_float("initial_noise", 0.05, "Noise on w at the start, in deviations of w.", 0, 100)
    define_integer("num_samples", 10_000, "Images that the mean of w is estimated from.", 2, MAX_SEEDS)
    define_integer("seed", 0, "Of these images and of the noise.", 0, MAX_SEED)
    define_side_flag("resolution", "Longer side of the dense pictures in the sheet; about 128 by default.")
    flags.DEFINE_enum("codes_format", "safetensors", ["safetensors", "npz"], "Format of the file of codes.")
    for option in WEIGHTS_FLAGS:
        flags.DEFINE_string(option.flag, None, f"File of weights; ${option.variable} by default.")


if __name__ == "__main__":
    define_flags()
    run(main)
