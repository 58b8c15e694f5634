"""Image files of every kind that people have, whole and broken."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16


def colours(seed: int = 0, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A smooth picture [height, width, 3], uint8, different for each seed."""
    rng = np.random.default_rng(seed)
    corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    return np.asarray(corners.resize((width, height), Image.Resampling.BILINEAR))


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits_and_type: tuple[int, int], rows: bytes, level: int = 6) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, *bits_and_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)


def deep_png(pixels: np.ndarray, key: Sequence[int] = ()) -> bytes:
    """A PNG of 16 bits of grey, grey and alpha, RGB or RGBA, perhaps with a colour that is transparent.

    Args:
        pixels: [height, width, 1 to 4], uint16.
        key: the transparent colour, one number a channel.
    """
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    data = png(width, height, (16, (0, 4, 2, 6)[channels - 1]), rows)
    header_end = 33
    chunk = png_chunk(b"tRNS", np.array(key, ">u2").tobytes()) if key else b""
    return data[:header_end] + chunk + data[header_end:]


def deep_tiff(pixels: np.ndarray, photometric: int, *, is_zipped: bool = False, order: str = "<", **tags: int) -> bytes:
    """A TIFF of 16 bits a sample.

    Args:
        pixels: [height, width, 3 or 4], uint16.
        photometric: 2 for RGB, 5 for CMYK.
        is_zipped: compressed by deflate.
        order: of the bytes, `<` or `>`.
        tags: `extra`: what a fourth sample of RGB is: 0 nothing, 1 premultiplied alpha, 2 alpha; `orientation`: how to
            turn it, as in EXIF.
    """
    height, width, channels = pixels.shape
    content = pixels.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if is_zipped else content
    content += bytes(len(content) % 2)
    bits_at = 8 + len(content)
    short, long = 3, 4
    values = [(256, short, 1, width), (257, short, 1, height), (258, short, channels, bits_at)]
    values += [(259, short, 1, 8 if is_zipped else 1), (262, short, 1, photometric), (273, long, 1, 8)]
    values += [(274, short, 1, tags.get("orientation", 1)), (277, short, 1, channels), (278, short, 1, height)]
    values += [(279, long, 1, len(content)), *([(338, short, 1, tags["extra"])] if "extra" in tags else [])]
    directory = struct.pack(f"{order}H", len(values))
    for tag, kind, count, value in values:
        field = f"{order}HHIH2x" if kind == short and count == 1 else f"{order}HHII"
        directory += struct.pack(field, tag, kind, count, value)
    start = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, bits_at + 2 * channels)
    return start + content + struct.pack(f"{order}H", 16) * channels + directory + bytes(4)


def bomb(side: int) -> bytes:
    """A black one-bit PNG of side x side: some kilobytes that decode to a great many."""
    return png(side, side, (1, 0), bytes((1 + -(-side // 8)) * side), level=1)


def rotated_jpeg(picture: np.ndarray) -> bytes:
    """Stored lying on its side, with a note in EXIF to turn it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def convertible() -> dict[str, bytes]:
    """Odd kinds that can be used, by name."""
    picture = colours()
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:, : SIDE // 2] = 0
    deep = (picture.astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + deep[i : i + 6 * SIDE] for i in range(0, len(deep), 6 * SIDE))
    return {
        "grey.png": encoded(grey),
        "grey_alpha.png": encoded(np.dstack([grey, alpha])),
        "rgba.png": encoded(np.dstack([picture, alpha])),
        "palette.png": encoded(Image.fromarray(picture).quantize(256)),
        "palette_transparent.gif": encoded(Image.fromarray(picture).quantize(16), "GIF", transparency=0),
        "bits16_grey.png": encoded(grey.astype(np.uint16) * 257),
        "bits16_colour.png": png(SIDE, SIDE, (16, 2), rows),
        "one_bit.png": encoded(Image.fromarray(grey).convert("1")),
        "cmyk.jpg": encoded(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=95),
        "rotated.jpg": rotated_jpeg(picture),
        "lab.tif": encoded(Image.fromarray(picture).convert("LAB"), "TIFF"),
        "animated.gif": encoded(
            Image.fromarray(picture), "GIF", save_all=True, append_images=[Image.fromarray(255 - picture)]
        ),
        "lossy.webp": encoded(picture, "WEBP", quality=95),
        "windows.bmp": encoded(picture, "BMP"),
        "phone.avif": encoded(picture, "AVIF", quality=95),
        "bits16_grey.pgm": encoded(grey.astype(np.uint16) * 257, "PPM"),
        "bits16_colour.tif": deep_tiff(picture.astype(np.uint16) * 257, 2),
        "with spaces and ünïcödé 花.png": encoded(picture),
    }


def broken() -> dict[str, bytes]:
    """Kinds that cannot be used, by name."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg, whole_png = encoded(noise, "JPEG"), encoded(noise)
    return {
        "empty.png": b"",
        "text.jpg": b"<html>404 Not Found</html>",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": whole_png[: len(whole_png) // 2],
        "flipped_bits.png": whole_png[:200] + bytes(byte ^ 255 for byte in whole_png[200:260]) + whole_png[260:],
        "float.tif": encoded(noise[..., 0].astype(np.float32), "TIFF"),
        "drawing.gif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    }


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: Mapping[str, bytes], labels: Sequence[tuple[str, Any]] | None = None) -> Path:
    """A zip as the tools of StyleGAN2-ADA write it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if labels is not None:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return path
