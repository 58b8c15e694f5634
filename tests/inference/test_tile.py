"""Pictures in pieces: the bytes of one render, whatever is killed in between; refusals in one sentence."""

import json
import sys
from collections import namedtuple
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import pictures, pyramid, raw_picture
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pyramid import PyramidOptions, build_pyramid
from inr_gan_jax.inference.raw_picture import RawPicture
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.tools import tile
from tests.closeness import assert_bytes_close
from tests.inference.tools import flags_of, image_of, loaded_paper, loaded_release, run_tool

# Of no simple ratio to the grids of 4 and 8, and reaching beyond the trained picture.
VIEW = Viewport(37, 46, top=-0.3, left=0.11, height_extent=1.4, width_extent=1.2)
PIXELS = 46 * 5
CASES = {
    "paper-pointwise": (loaded_paper, "pointwise"),
    "paper-all": (loaded_paper, "all"),
    "paper-paper": (loaded_paper, "paper"),
    "release-paper": (loaded_release, "paper"),
}


def view_of(rule: str) -> Viewport:
    return Viewport(**{**vars(VIEW), "rule": rule})


def in_pieces(loaded: LoadedGenerator, viewport: Viewport, pixels: int) -> np.ndarray:
    pieces = tile.pieces_of(viewport, pixels)
    picture = np.zeros((viewport.height, viewport.width, loaded.generator.channels), np.uint8)
    for piece, values in zip(pieces, tile.draw_pieces(loaded, image_of(loaded), viewport, pieces), strict=True):
        picture[piece.top : piece.top + values.shape[0], piece.left : piece.left + values.shape[1]] = values
    return picture


@pytest.mark.parametrize("case", CASES)
def test_picture_in_pieces_is_that_of_one_render(case: str) -> None:
    make, rule = CASES[case]
    loaded, viewport = make(), view_of(rule)
    at_once = to_uint8(pictures.render(loaded, image_of(loaded), viewport))
    assert len(np.unique(at_once)) > 20
    assert_bytes_close(in_pieces(loaded, viewport, PIXELS), at_once)


def test_rows_in_several_parts_make_the_same_picture() -> None:
    loaded, viewport = loaded_paper(), view_of("paper")
    at_once = to_uint8(pictures.render(loaded, image_of(loaded), viewport))
    assert_bytes_close(in_pieces(loaded, viewport, 20), at_once)


@pytest.mark.parametrize("pixels", [1, 7, 46, 47, 200, 10**6])
def test_pieces_of_one_shape_cover_every_pixel_once(pixels: int) -> None:
    covered = np.zeros((VIEW.height, VIEW.width), int)
    pieces = tile.pieces_of(VIEW, pixels)
    (shape,) = {(piece.viewport.height, piece.viewport.width) for piece in pieces}
    assert shape[0] * shape[1] <= pixels
    for piece in pieces:
        covered[piece.top : piece.top + shape[0], piece.left : piece.left + shape[1]] += 1
    np.testing.assert_array_equal(covered, 1)


def test_killed_work_goes_on_and_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, viewport = loaded_paper(), view_of("pointwise")
    image = image_of(loaded)
    whole = tile.tile(loaded, image, viewport, made(tmp_path / "whole"), pixels=PIXELS).read_bytes()
    folder = made(tmp_path / "killed")
    monkeypatch.setattr(raw_picture, "_SECONDS_BETWEEN_ENTRIES", -1.0)
    drawn: list[int] = []

    def render_on(*arguments: object) -> np.ndarray:
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(1)
        return original(*arguments)

    original = pictures.render_on
    monkeypatch.setattr(pictures, "render_on", render_on)
    with pytest.raises(KeyboardInterrupt):
        tile.tile(loaded, image, viewport, folder, pixels=PIXELS)
    # A kill in the middle of an entry.
    with (folder / "picture.journal").open("ab") as file:
        file.write(b'{"done": 9')
    drawn[:] = [1] * 4
    assert tile.tile(loaded, image, viewport, folder, pixels=PIXELS).read_bytes() == whole
    assert len(drawn) - 4 == len(tile.pieces_of(viewport, PIXELS)) - 3
    assert sorted(path.name for path in folder.iterdir()) == ["picture.tif", "picture_preview.png"]


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_parts_of_rows_lie_at_their_places(tmp_path: Path) -> None:
    pixels = np.arange(3 * 5 * 2, dtype=np.uint8).reshape(3, 5, 2)
    raw = RawPicture(tmp_path / "picture.raw", pixels.shape, "a")
    for left, right in ((0, 2), (2, 5)):
        raw.write(0, left, pixels[:2, left:right])
    raw.write(2, 0, pixels[2:])
    raw.close()
    np.testing.assert_array_equal(np.fromfile(raw.path, np.uint8).reshape(pixels.shape), pixels)


def test_entry_behind_a_torn_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "picture.raw"
    RawPicture(path, (2, 2, 1), "a").close()
    with path.with_suffix(".journal").open("ab") as file:
        file.write(b'{"done": 9')
    for done in (0, 1, 2):
        raw = RawPicture(path, (2, 2, 1), "a")
        assert raw.num_done == done
        raw.write(0, 0, np.zeros((1, 2, 1), np.uint8))
        raw.commit()
        raw.close()


def test_lost_picture_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "picture.raw"
    raw = RawPicture(path, (2, 2, 1), "a")
    raw.write(0, 0, np.full((1, 2, 1), 7, np.uint8))
    raw.commit()
    raw.close()
    path.unlink()
    # Also the second time, when the file has its size again.
    for _ in range(2):
        again = RawPicture(path, (2, 2, 1), "a")
        assert again.num_done == 0
        again.close()


def test_unfinished_work_of_another_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.raw"
    RawPicture(path, (2, 2, 1), "a").close()
    with pytest.raises(UserError, match="unfinished work of another picture"):
        RawPicture(path, (2, 2, 1), "b")


def test_foreign_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.journal").write_text("notes\n")
    with pytest.raises(UserError, match="unfinished work of another picture"):
        RawPicture(tmp_path / "picture.raw", (2, 2, 1), "a")


def test_two_programs_cannot_draw_one_picture(tmp_path: Path) -> None:
    raw = RawPicture(tmp_path / "picture.raw", (2, 2, 1), "a")
    with pytest.raises(UserError, match="another program is drawing"):
        RawPicture(tmp_path / "picture.raw", (2, 2, 1), "a")
    raw.close()


def test_fingerprint_depends_on_image_weights_and_rectangle() -> None:
    loaded = loaded_paper()
    image = image_of(loaded)
    doubled = LoadedGenerator(**{**vars(loaded), "variables": jax.tree.map(lambda leaf: 2 * leaf, loaded.variables)})
    words = {
        tile.fingerprint_of(loaded, image, VIEW, 9),
        tile.fingerprint_of(loaded, image_of(loaded, 6), VIEW, 9),
        tile.fingerprint_of(doubled, image, VIEW, 9),
        tile.fingerprint_of(loaded, image, view_of("all"), 9),
        tile.fingerprint_of(loaded, image, VIEW, 8),
    }
    assert len(words) == 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", pyramid.FORMATS)
def test_formats_keep_every_byte(tmp_path: Path, name: pyramid.Format, channels: int) -> None:
    pyvips = pytest.importorskip("pyvips")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 520, channels), np.uint8)
    (tmp_path / "x.raw").write_bytes(pixels.tobytes())
    build_pyramid(tmp_path / "x.raw", pixels.shape, tmp_path, "x", PyramidOptions(name))
    if name == "dzi":
        read = np.zeros_like(pixels)
        for path in (tmp_path / "x_files" / "10").iterdir():
            column, row = map(int, path.stem.split("_"))
            # Tiles overlap by one pixel.
            top, left = max(0, row * 256 - 1), max(0, column * 256 - 1)
            part = pyvips.Image.new_from_file(str(path)).numpy().reshape(-1, 1, channels)
            with Image.open(path) as picture:
                width, height = picture.size
            read[top : top + height, left : left + width] = part.reshape(height, width, channels)
    else:
        with Image.open(tmp_path / f"x{pyramid.SUFFIXES[name]}") as picture:
            assert getattr(picture, "n_frames", 1) == (3 if name == "tiff" else 1)
            read = np.asarray(picture).reshape(pixels.shape)
    np.testing.assert_array_equal(read, pixels)


def test_missing_library_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(UserError, match=r"pip install 'inr_gan_jax\[tile\]'"):
        pyramid.check_available(PyramidOptions())


def test_full_disk_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("Usage", ["free"])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**9))
    with pytest.raises(UserError, match=r"needs up to 1\.9 GB more .* but 1\.0 GB are free"):
        tile.check_folder(tmp_path, (16384, 16384, 3), PyramidOptions())
    assert not list(tmp_path.iterdir())


def test_finished_picture_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "picture.dzi").touch()
    with pytest.raises(UserError, match=r"picture\.dzi is there already"):
        tile.check_folder(tmp_path, (8, 8, 1), PyramidOptions("dzi"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--height=0"], "--height is 0, expected a whole number from 1 to 1,048,576"),
        (["--height=600000", "--height_extent=0.5"], "the size is 600000 x 1200000 pixels, expected sides of 1"),
        (["--seeds=1-3"], "--seeds has 3 images, expected one"),
        (["--seeds=x"], "seeds are 'x', expected numbers"),
        (["--left=nan"], "--left is nan, expected a number from -1000 to 1000"),
        (["--width_extent=0"], "--width_extent is 0, expected a number from 1e-06 to 1000"),
        (["--format=png", "--jpeg_quality=90"], "--jpeg_quality is 90, but PNG keeps every byte"),
        (["--checkpoint=nowhere"], "nowhere does not exist"),
        (["--output=/dev/null/x"], "output folder /dev/null/x cannot be written"),
        (["--height=8", "--resolution=9"], "--resolution=9 and --height were both given"),
    ],
)
def test_mistake_is_one_sentence(weights: str, arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        run_tool(tile, f"--checkpoint={weights}", *arguments)
    assert str(caught.value).startswith(sentence)


def test_command_draws_a_rectangle_and_records_it(weights: str, tmp_path: Path) -> None:
    flags = ["--seeds=5", "--height=30", "--height_extent=2", "--top=-0.5", "--rule=pointwise", "--format=png"]
    with flags_of(tile, f"--checkpoint={weights}", f"--output={tmp_path}", *flags) as words:
        tile.main(words)
    viewport = Viewport(30, 15, top=-0.5, height_extent=2.0, rule="pointwise").centred_on((8, 8))
    expected = to_uint8(pictures.render(loaded_paper(), image_of(loaded_paper()), viewport))
    with Image.open(tmp_path / "picture.png") as picture:
        assert_bytes_close(np.asarray(picture), expected[..., 0])
    assert json.loads((tmp_path / "record.json").read_text())["viewport"]["top"] == viewport.top
