"""Converts an encoded image to a given size, mode and format. Needs only Pillow, NumPy and imagecodecs.

Grey, RGBA, palette, 16-bit, CMYK and rotated (EXIF) images are converted; unreadable ones are refused with a reason.
"""

import dataclasses
import io
import struct
import warnings
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inr_gan_jax.data.prepare.deep_colours import decode_deep, to_8_bits

Crop = Literal["center", "none"]
ResizeFilter = Literal["box", "lanczos", "bicubic"]
ImageFormat = Literal["png", "jpeg", "webp"]

CROPS: tuple[Crop, ...] = get_args(Crop)
RESIZE_FILTERS: tuple[ResizeFilter, ...] = get_args(ResizeFilter)
IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)

# Larger images are refused before they are decoded: this many pixels take about 1.2 GB during conversion.
MAX_PIXELS = 100_000_000
# Larger files are refused before they are read.
MAX_FILE_BYTES = 2**29
# Formats whose readers never run another program. JPEG includes the multi-picture files (MPO) of phones.
READABLE = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
_RESAMPLING = {
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
}
# Encoder options, recorded with the set. PNG at level 3 takes a third of the time of the default level 6 and makes
# photographs a few percent larger.
ENCODER_OPTIONS: dict[ImageFormat, dict[str, int | bool]] = {
    "png": {"compress_level": 3},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
}
_EXIF_ORIENTATION = 0x0112
_MODES = {1: "L", 3: "RGB"}
_PNG_COLOUR_TYPES = {1: 0, 3: 2}
_PNG_SIGNATURE_BYTES = 8


class BadImageError(Exception):
    """An unusable image; the message is the reason, in a few words."""


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Size, mode and format of the images of a set.

    Attributes:
        height, width: pixels.
        channels: 1 (grey) or 3 (RGB).
        crop: `center` crops the largest centred part of the target aspect ratio; `none` stretches the whole image.
        resize_filter: of the resize, applied to the stored (gamma-encoded) values.
        image_format: of the encoded image.
    """

    height: int
    width: int
    channels: int = 3
    crop: Crop = "center"
    resize_filter: ResizeFilter = "box"
    image_format: ImageFormat = "png"


@dataclasses.dataclass(frozen=True)
class FittedImage:
    """An encoded image of the size, mode and format of a set.

    Attributes:
        data: the encoded image.
        is_copied: it was not re-encoded.
        is_enlarged: the source was smaller than the result.
    """

    data: bytes
    is_copied: bool = False
    is_enlarged: bool = False


def fit_encoded(data: bytes, settings: FitSettings | None) -> FittedImage:
    """Converts one encoded image.

    An image that already has the size, mode and format is not re-encoded: a JPEG or WebP is copied byte for byte, a PNG
    without chunks other than pixels (profiles, texts, locations).

    Args:
        data: content of an image file.
        settings: of the result; None keeps the bytes of any image that can be decoded.

    Raises:
        BadImageError: if it cannot be read, or is too large.
    """
    with warnings.catch_warnings():
        # Pillow warns about oddities that it can read.
        warnings.simplefilter("ignore")
        try:
            with open_picture(data) as picture:
                if settings is None:
                    picture.load()
                    return FittedImage(data, is_copied=True)
                return _fit(data, picture, settings)
        except BadImageError:
            raise
        except Exception as error:  # readers raise many kinds for damaged files
            raise BadImageError(reason_of(error)) from error


def open_picture(data: bytes) -> Image.Image:
    """Reads the header of an encoded image.

    Raises:
        BadImageError: if its format is unknown or it is too large.
    """
    if not data:
        raise BadImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns about sizes that are allowed here, and about oddities that it can read.
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=READABLE)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadImageError(reason_of(error)) from error
    if picture.width * picture.height > MAX_PIXELS:
        raise BadImageError(f"{picture.height}x{picture.width} pixels, expected at most {MAX_PIXELS:,} in all")
    return picture


def num_pixels(data: bytes) -> int:
    """Number of pixels according to the header, 0 if it cannot be read."""
    try:
        with open_picture(data) as picture:
            return picture.width * picture.height
    except Exception:  # the decoder reports why
        return 0


def reason_of(error: Exception) -> str:
    """The reason of a failure in one line, the same in every run."""
    if isinstance(error, BadImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):  # its text holds an address in memory
        return "no image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the {MAX_PIXELS:,} expected at most"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def to_mode(picture: Image.Image, channels: int) -> Image.Image:
    """Converts an image of any mode to 8-bit grey or RGB; transparent parts become white.

    Raises:
        BadImageError: for floating-point and 32-bit images, whose white level is unknown.
    """
    mode = _MODES[channels]
    if picture.mode == mode and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I;16"):
        return Image.fromarray(to_8_bits(np.asarray(picture))).convert(mode)
    if picture.mode in ("F", "I"):
        raise BadImageError(f"pixels of mode {picture.mode} (32 bits), expected 8 or 16 bits")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGB", picture.size, "white")
        canvas.paste(picture, mask=picture.getchannel("A"))
        picture = canvas
    return picture.convert(mode)


def crop_and_resize(
    picture: Image.Image, size: tuple[int, int], crop: Crop, resize_filter: ResizeFilter
) -> Image.Image:
    """Crops and resizes an image of mode L or RGB to (height, width)."""
    height, width = size
    if picture.size == (width, height):
        return picture
    if crop == "center":
        scale = min(picture.width / width, picture.height / height)
        crop_width, crop_height = max(1, round(scale * width)), max(1, round(scale * height))
        left, top = (picture.width - crop_width) // 2, (picture.height - crop_height) // 2
        # Cropped first: `resize(box=...)` would let the filter read pixels outside the crop.
        picture = picture.crop((left, top, left + crop_width, top + crop_height))
    return picture.resize((width, height), _RESAMPLING[resize_filter])


def _fit(data: bytes, picture: Image.Image, settings: FitSettings) -> FittedImage:
    copied = _as_it_is(data, picture, settings)
    if copied is not None:
        picture.load()
        return FittedImage(copied, is_copied=True)
    picture = to_mode(_upright(data, picture), settings.channels)
    is_enlarged = picture.height < settings.height or picture.width < settings.width
    picture = crop_and_resize(picture, (settings.height, settings.width), settings.crop, settings.resize_filter)
    encoded = io.BytesIO()
    # A new image, without the metadata of the source.
    pixels = Image.fromarray(np.asarray(picture))
    pixels.save(encoded, settings.image_format.upper(), **ENCODER_OPTIONS[settings.image_format])
    return FittedImage(encoded.getvalue(), is_enlarged=is_enlarged)


def _upright(data: bytes, picture: Image.Image) -> Image.Image:
    """The decoded image, rotated according to EXIF."""
    deep = decode_deep(data, picture)
    if deep is None:
        picture.load()
    return ImageOps.exif_transpose(deep or picture)


def _as_it_is(data: bytes, picture: Image.Image, settings: FitSettings) -> bytes | None:
    """The encoded image if it already fits the settings, else None."""
    if (
        (picture.height, picture.width) != (settings.height, settings.width)
        or picture.format != settings.image_format.upper()
        or picture.mode != _MODES[settings.channels]
        or picture.has_transparency_data
        or getattr(picture, "n_frames", 1) > 1
        or picture.getexif().get(_EXIF_ORIENTATION, 1) != 1
    ):
        return None
    return _bare_png(data, settings.channels) if picture.format == "PNG" else data


def _bare_png(data: bytes, channels: int) -> bytes | None:
    """Header, pixels and end of an 8-bit PNG, None if it has another depth or is incomplete."""
    kept, place = data[:_PNG_SIGNATURE_BYTES], _PNG_SIGNATURE_BYTES
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + length + 12
        if kind == b"IHDR" and data[place + 16 : place + 18] != bytes((8, _PNG_COLOUR_TYPES[channels])):
            return None
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept += data[place:end]
        if kind == b"IEND":
            return kept
        place = end
    return None
