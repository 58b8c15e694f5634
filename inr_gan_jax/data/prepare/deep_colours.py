"""Converts 16-bit images to 8 bits, with rounding; Pillow truncates 16-bit colours and ignores 16-bit keys."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from imagecodecs import png_decode
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

# To 8 bits, rounded: 65535 / 255 = 257.
_FROM_16_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)
# Pixels converted at a time, so that the indices into the table need little memory.
_PIXELS_AT_A_TIME = 2**20
_EXIF_ORIENTATION = 0x0112
_SIXTEEN_BIT_PNG = b"\x10"
_BITS_PER_SAMPLE = 258
# Pillow's names of 16-bit samples by byte order, mapped to the opposite order. `N` is the native order.
_OTHER_ORDER = {";16L": ";16B", ";16B": ";16L", ";16N": ";16B"}


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Rounds 16-bit numbers [height, width, ...] to uint8 of the same shape: 65535 becomes 255."""
    rounded = np.empty(pixels.shape, np.uint8)
    for rows in _groups_of_rows(pixels):
        rounded[rows] = _FROM_16_BITS[pixels[rows]]
    return rounded


def decode_deep(data: bytes, picture: Image.Image) -> Image.Image | None:
    """Decodes a PNG of 16 bits, a TIFF of 16 bits per channel, or a PGM of more than 8 bits.

    Args:
        data: content of the file.
        picture: the file as Pillow opened it.

    Returns:
        The image with 8 bits and its EXIF rotation, which is not applied. None for images of other kinds.

    Raises:
        Exception: of many kinds, when the data are damaged.
    """
    if picture.format == "PNG" and data[24:25] == _SIXTEEN_BIT_PNG:
        deep = Image.fromarray(to_8_bits(png_decode(data)))
        deep.getexif()[_EXIF_ORIENTATION] = picture.getexif().get(_EXIF_ORIENTATION, 1)
        return deep
    if picture.format == "PPM" and picture.mode == "I":
        # Pillow scales the maximum value of the file to 65535.
        return Image.fromarray(to_8_bits(np.asarray(picture)))
    if isinstance(picture, TiffImageFile) and picture.mode in ("RGB", "RGBA", "CMYK"):
        return _decode_tiff(data, picture) if set(picture.tag_v2.get(_BITS_PER_SAMPLE, ())) == {16} else None
    return None


def _decode_tiff(data: bytes, upper: Image.Image) -> Image.Image | None:
    """Reads both bytes of every sample: with the opposite byte order, Pillow returns the lower one."""
    lower = Image.open(io.BytesIO(data), formats=("TIFF",))
    tiles = [(tile, _in_other_order(tile.args)) for tile in lower.tile]
    if any(arguments is None for _, arguments in tiles):
        return None
    lower.tile = [tile._replace(args=arguments) for tile, arguments in tiles]
    upper_bytes, lower_bytes = np.asarray(upper), np.asarray(lower)
    rounded = np.empty(upper_bytes.shape, np.uint8)
    for rows in _groups_of_rows(upper_bytes):
        rounded[rows] = _FROM_16_BITS[upper_bytes[rows].astype(np.uint16) * 256 + lower_bytes[rows]]
    return Image.frombytes(upper.mode, upper.size, rounded.tobytes())


def _in_other_order(arguments: Any) -> Any:
    """The arguments of a decoder of 16-bit samples with the byte order swapped, None for other decoders."""
    kind, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    order = _OTHER_ORDER.get(str(kind)[-4:])
    return (kind[:-4] + order, *others) if order else None


def _groups_of_rows(pixels: np.ndarray) -> Iterator[slice]:
    rows = max(1, _PIXELS_AT_A_TIME // max(1, pixels[0].size))
    for first in range(0, len(pixels), rows):
        yield slice(first, first + rows)
