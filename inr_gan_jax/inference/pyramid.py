"""Raw bytes to images that viewers can zoom: tiled TIFF with a pyramid, Deep Zoom, or PNG, streamed by libvips."""

import dataclasses
import os
import shutil
import typing
from pathlib import Path
from typing import Any, Literal

from inr_gan_jax.errors import UserError

Format = Literal["tiff", "dzi", "png"]
FORMATS = typing.get_args(Format)
SUFFIXES = {"tiff": ".tif", "dzi": ".dzi", "png": ".png"}

_NEEDS_PYVIPS = (
    "tiled images need the package pyvips: pip install 'inr_gan_jax[tile]' (or pip install 'pyvips[binary]')"
)
_TILE = 256
_PREVIEW_SIDE = 1024


@dataclasses.dataclass(frozen=True)
class PyramidOptions:
    """How an image is written.

    Attributes:
        format: `tiff`: one tiled file with all reductions by 2; `dzi`: Deep Zoom, a .dzi and a folder of tiles;
            `png`: one plain file.
        jpeg_quality: 1 to 100, of lossy tiles; None keeps every byte.
    """

    format: Format = "tiff"
    jpeg_quality: int | None = None


def check_available(options: PyramidOptions) -> None:
    """Checks that images can be written.

    Raises:
        UserError: if the library is missing, or the options contradict each other.
    """
    _library()
    if options.jpeg_quality is not None and options.format == "png":
        raise UserError(f"--jpeg_quality is {options.jpeg_quality}, but PNG is lossless; use --format=tiff or dzi")


def finished_files(folder: Path, name: str, options: PyramidOptions) -> list[Path]:
    """Paths of a finished image; the last one is the file to open."""
    image = folder / f"{name}{SUFFIXES[options.format]}"
    return [folder / f"{name}_files", image] if options.format == "dzi" else [image]


def build_pyramid(raw: Path, shape: tuple[int, int, int], folder: Path, name: str, options: PyramidOptions) -> None:
    """Writes an image and its small preview; they are renamed into place when complete.

    Args:
        raw: file of bytes [height, width, channels].
        shape: of it; channels 1 or 3.
        folder: to write to.
        name: of the image, without a suffix; the preview is `<name>_preview.png`.
        options: format and quality.

    Raises:
        UserError: if the library is missing or cannot write.
    """
    library = _library()
    building = folder / f".{name}.building"
    shutil.rmtree(building, ignore_errors=True)
    finished = finished_files(folder, name, options)
    preview = folder / f"{name}_preview.png"
    try:
        building.mkdir()
        height, width, channels = shape
        image = library.Image.rawload(str(raw), width, height, channels)
        image = image.copy(interpretation="b-w" if channels == 1 else "srgb")
        _save(image, building / finished[-1].name, options)
        image.thumbnail_image(_PREVIEW_SIDE, size="down").pngsave(str(building / preview.name))
        for path in [preview, *finished]:
            os.replace(building / path.name, path)
        building.rmdir()
    except library.Error as error:
        raise UserError(f"{finished[-1]} cannot be written ({' '.join(str(error).split())})") from error
    except OSError as error:
        raise UserError(f"{finished[-1]} cannot be written ({error.strerror})") from error


def _save(image: Any, path: Path, options: PyramidOptions) -> None:
    quality = options.jpeg_quality
    if options.format == "png":
        image.pngsave(str(path))
    elif options.format == "dzi":
        suffix = ".png" if quality is None else f".jpg[Q={quality}]"
        image.dzsave(str(path.with_suffix("")), suffix=suffix, tile_size=_TILE)
    else:
        coding = {"compression": "deflate", "predictor": "horizontal"}
        if quality is not None:
            coding = {"compression": "jpeg", "Q": quality}
        # 64-bit offsets where the file may exceed 4 GB.
        big = image.width * image.height * image.bands * 4 / 3 > 2**31
        image.tiffsave(str(path), tile=True, tile_width=_TILE, tile_height=_TILE, pyramid=True, bigtiff=big, **coding)


def _library() -> Any:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise UserError(_NEEDS_PYVIPS) from error
    return pyvips
