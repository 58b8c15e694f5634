"""Writes animations: GIF and WebP with Pillow, MP4 with PyAV."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inr_gan_jax.errors import UserError

FORMATS = ("gif", "webp", "mp4")
_NEEDS_AV = "MP4 needs the package av: pip install 'inr_gan_jax[video]' (or pip install av)"
# The first of these that the library was built with.
_CODECS = ("libx264", "libopenh264", "mpeg4")


def check_available(format_name: str) -> None:
    """Checks that animations of a format can be written.

    Raises:
        UserError: for an unknown format, or one whose library is missing.
    """
    if format_name not in FORMATS:
        raise UserError(f"animation format {format_name!r} is unknown, expected one of {', '.join(FORMATS)}")
    if format_name == "mp4":
        _library()


def save_animation(path: Path, frames: Iterable[np.ndarray], frames_per_second: int) -> None:
    """Writes an animation, endlessly looping where the format supports it.

    Args:
        path: ends in .gif, .webp or .mp4.
        frames: each [height, width, 1 or 3], uint8, all of one size; consumed one by one.
        frames_per_second: GIF rounds it to hundredths of a second per frame.

    Raises:
        UserError: if it cannot be written, or a library is missing.
    """
    check_available(path.suffix[1:])
    try:
        if path.suffix == ".mp4":
            _save_video(path, frames, frames_per_second)
        else:
            _save_looping(path, frames, frames_per_second)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error


def _save_looping(path: Path, frames: Iterable[np.ndarray], frames_per_second: int) -> None:
    pictures = (Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames)
    # Lossless WebP: few colours and smooth motion keep it small anyway.
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {"optimize": False}
    duration = round(1000 / frames_per_second)
    next(pictures).save(path, save_all=True, append_images=pictures, duration=duration, loop=0, **options)


def _save_video(path: Path, frames: Iterable[np.ndarray], frames_per_second: int) -> None:
    av = _library()
    codec = next(name for name in _CODECS if name in av.codecs_available)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=frames_per_second)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "16"}
        for frame in _even(frames):
            if not stream.width or stream.width != frame.shape[1]:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _even(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Converts to RGB and repeats the last row or column of odd sides: colours are stored for 2 x 2 pixels."""
    for frame in frames:
        height, width = frame.shape[:2]
        coloured = np.broadcast_to(frame, (height, width, 3))
        yield np.ascontiguousarray(np.pad(coloured, ((0, height % 2), (0, width % 2), (0, 0)), "edge"))


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(_NEEDS_AV) from error
    return av
