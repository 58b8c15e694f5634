r"""Projects real images: finds the code, or the INR, that renders a given image.

    python -m inr_gan_jax.tools.project --checkpoint=runs/digits --images=mine.png,folder/of/images
    python -m inr_gan_jax.tools.project --checkpoint=runs/digits --data_indices=0-7 --space=modulation

Spaces: `w`, one intermediate code; `w+`, num_ws of them (for `paper`, which has one, w+ is w); `modulation`, all arrays
of the image as an INR. The result is an ordinary INR of the generator, kept in `codes.safetensors`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float, define_integer, define_text
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_picture, save_record
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import CODE_SPACES, FEATURES_NAMES
from inr_gan_jax.inference.latents import MAX_SEED, MAX_SEEDS, parse_seeds
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS, WEIGHTS_OPTIONS

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

PICTURE_FILE = "projection.png"
_WEIGHTS = (*WEIGHTS_OPTIONS.values(), LPIPS_HEADS)
_MAX_WEIGHT = 1e6
_SETTINGS = [
    "space",
    "num_steps",
    "learning_rate",
    "initial_noise",
    "pixel_weight",
    "feature_weight",
    "num_samples",
    "seed",
]


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.code_file import save_codes
    from inr_gan_jax.inference.perceptual_features import check_features, load_features
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.inference.projection import ProjectionSettings, project
    from inr_gan_jax.inference.projection_sheet import MAX_NAME, projection_sheet, similarities
    from inr_gan_jax.inference.real_pictures import one_hot_labels
    from inr_gan_jax.inference.viewports import check_size

    values = flags.FLAGS.flag_values_dict()
    if values["resolution"] is not None:
        check_size(values["resolution"], values["resolution"])
    loaded = options.load_checkpoint()
    real, names, classes = _given_images(loaded, values)
    labels = one_hot_labels(loaded, classes, len(real))
    features = load_features(values["features"], {option.flag: values[option.flag] for option in _WEIGHTS})
    check_features(features, *loaded.generator.size, loaded.generator.channels)
    folder = output_folder(values["output"])
    settings = ProjectionSettings(**{name: values[name] for name in _SETTINGS})
    projection = project(loaded, real / 127.5 - 1, names, settings, labels, features)
    path = folder / f"codes.{values['codes_format']}"
    save_codes(path, projection.codes)
    save_picture(folder / PICTURE_FILE, projection_sheet(loaded, real, projection.codes, values["resolution"]))
    native = render_bytes(loaded, projection.codes.modulations, loaded.generator.native_viewport)
    found = similarities(real, native)
    losses = {"first_loss": projection.losses[0].tolist(), "last_loss": projection.losses[-1].tolist()}
    save_record(folder, "project", loaded, {"images": names, "codes": path.name, **found, **losses})
    for name, decibels, similarity in zip(names, found["psnr"], found["ssim"], strict=True):
        print(f"{name:<{MAX_NAME}} PSNR {decibels:6.2f} dB, SSIM {similarity:.4f}")
    print(f"written: {folder / PICTURE_FILE} and {path}")


def _given_images(loaded: LoadedGenerator, values: dict[str, Any]) -> tuple[np.ndarray, list[str], Any]:
    """Images [count, height, width, channels], uint8, their names and classes."""
    from inr_gan_jax.inference.real_pictures import picture_files, read_from_data_set, read_pictures

    if bool(values["images"]) == bool(values["data_indices"]):
        raise UserError("give either --images or --data_indices")
    classes = parse_classes(values["classes"])
    if values["images"]:
        files = picture_files(values["images"])
        return read_pictures(loaded, files), [path.name for path in files], classes
    indices = parse_seeds(values["data_indices"], "data_indices")
    images, labels = read_from_data_set(loaded, indices)
    return images, [f"image {index}" for index in indices], classes or ([] if labels is None else labels)


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


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/project")
    flags.DEFINE_list("images", [], "Image files, and folders of them.")
    options.define_seeds_flag("data_indices", "", "Instead: images of the dataset of the run, such as 0-7.")
    define_text("classes", "", "Of a conditional generator: one class for all images, or one for each.", parse_classes)
    flags.DEFINE_enum("space", "w+", CODE_SPACES, "Space to search.")
    flags.DEFINE_enum("features", "none", FEATURES_NAMES, "Network for comparing images, in addition to pixels.")
    define_float("pixel_weight", 1.0, "Weight of the mean squared difference of pixels.", 0, _MAX_WEIGHT)
    define_float("feature_weight", 1.0, "Weight of the distance of features.", 0, _MAX_WEIGHT)
    define_integer("num_steps", 1000, "Steps of gradient descent.", 1, 10**6)
    define_float("learning_rate", 0.1, "Highest learning rate, in deviations of the code.", 0, 100)
    define_float("initial_noise", 0.05, "Noise on w at the start, in deviations of w.", 0, 100)
    define_integer("num_samples", 10_000, "Images to estimate the mean of w from.", 2, MAX_SEEDS)
    define_integer("seed", 0, "Seed of these images and of the noise.", 0, MAX_SEED)
    options.define_side_flag("resolution", "Longer side of the dense images in the sheet; about 128 by default.")
    flags.DEFINE_enum("codes_format", "safetensors", ["safetensors", "npz"], "Format of the file of codes.")
    options.define_weights_flags(_WEIGHTS)


if __name__ == "__main__":
    define_flags()
    run(main)
