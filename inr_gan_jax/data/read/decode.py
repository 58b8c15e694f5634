"""Decodes images to arrays, with the fastest decoders where they give the same pixels as Pillow, else with Pillow."""

import numpy as np
from imagecodecs import Jpeg8Error, PngError, WebpError, jpeg8_decode, png_decode, webp_decode

from inr_gan_jax.data.prepare.deep_colours import decode_deep
from inr_gan_jax.data.prepare.fit_image import open_picture, to_mode

_PNG, _JPEG, _WEBP = b"\x89PNG", b"\xff\xd8\xff", b"RIFF"
# Bit depth and colour type of a PNG: 8-bit grey, 8-bit RGB.
_SIMPLE_PNGS = (b"\x08\x00", b"\x08\x02")


def decode_image(data: bytes, out: np.ndarray | None = None) -> np.ndarray:
    """Decodes a PNG, JPEG, WebP or any other format that Pillow reads.

    EXIF rotation and colour profiles are ignored, as in the readers of tfds.

    Args:
        data: content of an image file.
        out: buffer for an image of exactly this shape, [height, width, 1 or 3], uint8, contiguous.

    Returns:
        [height, width, 1 or 3], uint8, grey or RGB; transparent parts are white. `out` itself if it was
        filled; otherwise it may be partly filled.

    Raises:
        Exception: of many kinds, when the data are damaged.
    """
    if out is not None and _decode_fast(data, out if out.shape[-1] == 3 else out[..., 0]) is not None:
        return out
    image = _decode_fast(data)
    if image is None:
        with open_picture(data) as picture:
            shallow = decode_deep(data, picture) or picture
            is_grey = shallow.mode in ("1", "L") or shallow.mode.startswith("I;16")
            image = np.asarray(to_mode(shallow, 1 if is_grey else 3))
    return image[..., None] if image.ndim == 2 else image


def _decode_fast(data: bytes, out: np.ndarray | None = None) -> np.ndarray | None:
    """The array, or None for formats that the fast decoders refuse or treat differently, or that do not fit `out`."""
    try:
        if data.startswith(_JPEG):
            image = jpeg8_decode(data, out=out)
        elif data.startswith(_PNG) and data[24:26] in _SIMPLE_PNGS:
            image = png_decode(data, out=out)
        elif data.startswith(_WEBP):
            image = webp_decode(data, out=out)
        else:
            return None
    except (Jpeg8Error, PngError, WebpError):
        return None  # Pillow reads it, or reports what is wrong
    except ValueError:
        if out is None:
            raise
        return None
    return image if image.ndim == 2 or image.shape[2] == 3 else None
