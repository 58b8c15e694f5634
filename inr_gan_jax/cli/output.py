"""Output folders of the commands: images, text and the record of what was done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from PIL import Image

import inr_gan_jax
from inr_gan_jax.cli.command import own_flags
from inr_gan_jax.cli.flags import CHECKPOINT_ALIAS
from inr_gan_jax.errors import UserError
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.progress import Progress

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

RECORD_FILE = "record.json"


def output_folder(path: str | Path) -> Path:
    """Creates a folder for results and checks that it is writable.

    Raises:
        UserError: if it is not.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"output folder {folder} cannot be written ({error.strerror})") from error
    return folder


def save_picture(path: Path, image: np.ndarray) -> None:
    """Writes an image [height, width, 1 or 3], uint8, in the format of the path's suffix.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error


def save_images(folder: Path, seeds: Sequence[int], images: Iterable[np.ndarray]) -> list[str]:
    """Writes the image of each seed as `seed0000.png`, showing progress, and returns the file names.

    Args:
        folder: where to write.
        seeds: of the images.
        images: each [height, width, 1 or 3], about [-1, 1], or uint8; rendered one by one as they are written.

    Raises:
        UserError: if a file cannot be written.
    """
    names = []
    with Progress("images", len(seeds)) as progress:
        for seed, image in zip(seeds, images, strict=True):
            names.append(f"seed{seed:04d}.png")
            save_picture(folder / names[-1], image if image.dtype == np.uint8 else to_uint8(image))
            progress.add(1)
    return names


def save_text(path: Path, text: str) -> None:
    """Writes a text file.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error


def save_record(folder: Path, tool: str, loaded: LoadedGenerator, values: Mapping[str, Any]) -> None:
    """Writes `record.json`: tool, versions, checkpoint, flags, and the tool's own values.

    Raises:
        UserError: if it cannot be written.
    """
    import jax

    record = {
        "tool": tool,
        "version": inr_gan_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "unix_time": round(time.time()),
        "checkpoint": {"source": loaded.source, "kimg": loaded.kimg, "native_size": list(loaded.generator.size)},
        "flags": _given_flags(),
        **values,
    }
    save_text(folder / RECORD_FILE, json.dumps(record, indent=2) + "\n")


def _given_flags() -> dict[str, Any]:
    """The flags of the running command; none in a notebook."""
    values = own_flags(flags.FLAGS) if flags.FLAGS.is_parsed() else {}
    return {name: value for name, value in values.items() if name != CHECKPOINT_ALIAS}
