"""Real pictures from files, folders or the data set of a run, at the size and in the colours of a generator."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageOps

from inr_gan_jax.array_types import Array
from inr_gan_jax.data.prepare.fit_image import BadImageError, crop_and_resize, open_picture, reason_of, to_mode
from inr_gan_jax.data.prepare.sources import list_folder
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.loading import LoadedGenerator


def picture_files(names: Sequence[str]) -> tuple[Path, ...]:
    """Files, and in the place of each folder the image files in it and below.

    Raises:
        UserError: if one is not there, or a folder holds no image.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            found = [path / entry for entry in list_folder(path, "none").names]
            if not found:
                raise UserError(f"the folder {path} holds no images")
            files.extend(found)
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"the image {path} does not exist")
    return tuple(files)


def read_pictures(loaded: LoadedGenerator, files: Sequence[Path]) -> np.ndarray:
    """Reads files: the largest centred part of the trained aspect, resized by a box filter, grey or RGB.

    Returns:
        [count, height, width, channels], uint8.

    Raises:
        UserError: naming the first file that cannot be read.
    """
    return np.stack([_read_picture(loaded, path) for path in files])


def read_from_data_set(loaded: LoadedGenerator, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads images of the data set that a run was trained on, fitted as in training.

    Returns:
        [count, height, width, channels], uint8; and labels [count], None for an unconditional generator.

    Raises:
        UserError: if there is no such run, set or image.
    """
    from inr_gan_jax.data.read.dataset import open_dataset  # Takes a second.
    from inr_gan_jax.data.read.images import read_images

    if loaded.config is None:
        raise UserError(f"{loaded.source} does not say what it was trained on; name the images by --images")
    dataset = open_dataset(loaded.config.data)
    for index in indices:
        if index >= len(dataset):
            raise UserError(f"image {index} was asked for, but {dataset.name} has the images 0 to {len(dataset) - 1}")
    images = read_images(dataset, loaded.config.data, np.asarray(indices))
    if not loaded.generator.c_dim:
        return images, None
    return images, np.array([int(dataset.source[index]["label"]) for index in indices])


def one_hot_labels(loaded: LoadedGenerator, classes: Sequence[int] | np.ndarray, count: int) -> Array | None:
    """Labels [count, c_dim] of classes, one an image or one for all; None for an unconditional generator.

    Raises:
        UserError: if there are not that many, no such class, or no classes at all.
    """
    c_dim = loaded.generator.c_dim
    if not c_dim:
        if len(classes):
            raise UserError(f"classes were given, but {loaded.source} has none")
        return None
    if len(classes) not in (1, count):
        raise UserError(
            f"{loaded.source} is conditional and {len(classes)} classes were given by --classes, expected one, or one "
            f"for each of {count} images"
        )
    for index in classes:
        if not 0 <= index < c_dim:
            raise UserError(f"class is {index}, but {loaded.source} has the classes 0 to {c_dim - 1}")
    return jax.nn.one_hot(np.broadcast_to(np.asarray(classes), count), c_dim)


def _read_picture(loaded: LoadedGenerator, path: Path) -> np.ndarray:
    generator = loaded.generator
    try:
        with open_picture(path.read_bytes()) as picture:
            upright = to_mode(ImageOps.exif_transpose(picture), generator.channels)
            fitted = crop_and_resize(upright, generator.size, "center", "box")
    except OSError as error:
        raise UserError(f"the image {path} cannot be read ({error.strerror or error})") from error
    except (BadImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise UserError(f"the image {path} cannot be read ({reason_of(error)})") from error
    return np.asarray(fitted).reshape(*generator.size, generator.channels)
