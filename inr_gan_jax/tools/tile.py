r"""Any rectangle of the plane at any density, also far beyond memory, as a picture that viewers can zoom.

    python -m inr_gan_jax.tools.tile --checkpoint=runs/digits --seeds=3 --height=16384
    python -m inr_gan_jax.tools.tile --checkpoint=runs/digits --seeds=3 --height=20000 --top=-0.5 --left=-0.5 \
        --height_extent=2 --width_extent=2 --format=dzi

--checkpoint also takes the file of one image (.inr.safetensors). The picture is drawn in pieces of one shape, compiled
once, into a file of bytes; killed and started again, the same command goes on where it was. Then libvips makes the
pyramid, streaming.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    MAX_SIDE,
    STRIP_PIXELS,
    chosen_seeds,
    chosen_truncation,
    define_checkpoint_flag,
    define_output_flag,
    define_seed_flags,
    load_checkpoint,
    output_folder,
    save_record,
)
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_viewport_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.inr_file import SUFFIX, load_inr
from inr_gan_jax.inference.latents import draw_modulations, take
from inr_gan_jax.inference.pyramid import FORMATS, PyramidOptions, build_pyramid, check_available, finished_files
from inr_gan_jax.inference.raw_picture import RawPicture
from inr_gan_jax.metrics.progress import Progress
from inr_gan_jax.ops.image_grid import to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.ops.viewport import Viewport

_NAME = "picture"
# A pyramid without compression: 1 + 1/4 + 1/16 + ... of the picture.
_PYRAMID_SHARE = 4 / 3


@dataclasses.dataclass(frozen=True)
class Piece:
    """A rectangle of pixels of a picture.

    Attributes:
        top: first row.
        left: first column.
        viewport: of the piece; the last ones may reach beyond the picture.
    """

    top: int
    left: int
    viewport: Viewport


def pieces_of(viewport: Viewport, pixels: int = STRIP_PIXELS) -> list[Piece]:
    """Cuts a viewport into pieces of one shape, row by row, each of about `pixels`.

    Strips of full width where a row has no more pixels than that, parts of one row otherwise.
    """
    columns = -(-viewport.width // -(-viewport.width // pixels))
    rows = max(1, min(viewport.height, pixels // columns))
    return [
        Piece(top, left, viewport.crop(top, left, rows, columns))
        for top in range(0, viewport.height, rows)
        for left in range(0, viewport.width, columns)
    ]


def draw_pieces(
    loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport, pieces: Sequence[Piece], first: int = 0
) -> Iterator[np.ndarray]:
    """Draws pieces of a viewport one after the other, all by one compiled program.

    Args:
        loaded: the generator.
        modulation: of the image.
        viewport: of the whole picture.
        pieces: all of its pieces, of one shape.
        first: the piece to begin with.

    Yields:
        [rows, columns, channels], uint8, without what lies beyond the picture.
    """
    from inr_gan_jax.inference import pictures

    all_grids = pictures.grids_of_tiles(loaded, [piece.viewport for piece in pieces])
    for piece, grids in itertools.islice(zip(pieces, all_grids, strict=True), first, None):
        drawn = to_uint8(pictures.render_on(loaded, modulation, grids))
        # A grid may have been filled up further than the piece.
        height = min(piece.viewport.height, viewport.height - piece.top)
        yield drawn[:height, : min(piece.viewport.width, viewport.width - piece.left)]


def fingerprint_of(loaded: LoadedGenerator, modulation: Modulation, viewport: Viewport, pixels: int) -> str:
    """A word for all that the bytes of a picture depend on: network, weights, image, rectangle, pieces."""
    import jax

    request = [repr(loaded.generator.settings), dataclasses.asdict(viewport), pixels, jax.__version__]
    digest = hashlib.sha256(json.dumps(request).encode())
    for leaf in jax.tree.leaves((modulation, dict(loaded.variables))):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def tile(
    loaded: LoadedGenerator,
    modulation: Modulation,
    viewport: Viewport,
    folder: Path,
    options: PyramidOptions | None = None,
    pixels: int = STRIP_PIXELS,
) -> Path:
    """Draws a picture of any size in constant memory.

    Args:
        loaded: the generator.
        modulation: of the image, without a leading axis.
        viewport: the rectangle, its pixels, and the rule.
        folder: for the finished picture, `picture.*`, and the unfinished one, `picture.raw` and `picture.journal`.
        options: of the finished picture; None for a lossless TIFF.
        pixels: drawn at a time.

    Returns:
        The file to open.

    Raises:
        UserError: if the folder holds a picture, or another unfinished one; if there is not enough space on the disk.
    """
    options = options or PyramidOptions()
    shape = (viewport.height, viewport.width, loaded.generator.channels)
    check_folder(folder, shape, options)
    raw = RawPicture(folder / f"{_NAME}.raw", shape, fingerprint_of(loaded, modulation, viewport, pixels))
    try:
        pieces = pieces_of(viewport, pixels)
        with Progress("tile", len(pieces), raw.num_done, "pieces") as progress:
            drawn = draw_pieces(loaded, modulation, viewport, pieces, raw.num_done)
            for piece, values in zip(pieces[raw.num_done :], drawn, strict=True):
                raw.write(piece.top, piece.left, values)
                progress.add(1)
        raw.commit()
        print("tile: all pieces are drawn; making the pyramid", flush=True)
        build_pyramid(raw.path, shape, folder, _NAME, options)
        raw.remove()
    finally:
        raw.close()
    return finished_files(folder, _NAME, options)[-1]


def check_folder(folder: Path, shape: tuple[int, int, int], options: PyramidOptions) -> None:
    """Checks that a folder can take a picture.

    Raises:
        UserError: if it has one already, or not enough space.
    """
    for path in finished_files(folder, _NAME, options):
        if path.exists():
            raise UserError(f"{path} is there already; delete it or give another --output")
    raw = folder / f"{_NAME}.raw"
    size = shape[0] * shape[1] * shape[2]
    held = raw.stat().st_blocks * 512 if raw.exists() else 0
    needed, free = max(0, size - held) + round(_PYRAMID_SHARE * size), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"a picture of {shape[0]} x {shape[1]} pixels needs up to {needed / 1e9:,.1f} GB more in {folder} while it "
            f"is made, but {free / 1e9:,.1f} GB are free"
        )


def check_tile_size(height: int, width: int) -> None:
    """Refuses sizes that no viewer opens.

    Raises:
        UserError: for a side of no pixel or of more than a million.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise UserError(f"the size is {height} x {width} pixels, expected sides of 1 to {MAX_SIDE:,}")


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    options = PyramidOptions(values.format, values.jpeg_quality)
    check_available(options)
    loaded, modulation = _chosen_image()
    viewport = chosen_viewport(loaded, check_tile_size)
    folder = output_folder(values.output)
    path = tile(loaded, modulation, viewport, folder, options)
    record = {"viewport": dataclasses.asdict(viewport), "pieces": len(pieces_of(viewport))}
    save_record(folder, "tile", loaded, {**record, "picture": path.name, "bytes": path.stat().st_size})
    print(f"written: {path}, {viewport.height} x {viewport.width} pixels")


def _chosen_image() -> tuple[LoadedGenerator, Modulation]:
    """What --checkpoint and the seed flags say."""
    if str(flags.FLAGS.checkpoint).endswith(SUFFIX):
        return load_inr(flags.FLAGS.checkpoint)
    seeds = chosen_seeds()
    if len(seeds) != 1:
        raise UserError(f"--seeds has {len(seeds)} images, expected one; draw them one after the other")
    loaded = load_checkpoint()
    return loaded, take(draw_modulations(loaded, seeds, flags.FLAGS.class_index, chosen_truncation()), 0)


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/tile")
    define_seed_flags("0")
    define_viewport_flags()
    flags.DEFINE_enum("format", "tiff", FORMATS, "TIFF with a pyramid, Deep Zoom, or one plain PNG.")
    define_integer("jpeg_quality", None, "Of lossy tiles; none are lost by default.", 1, 100)


if __name__ == "__main__":
    define_flags()
    run(main)
