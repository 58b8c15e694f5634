"""One image of any kind to one of the wanted kind."""

import io

import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.data.prepare.fit_image import MAX_PIXELS, READABLE, BadImageError, FitSettings, fit_encoded
from inr_gan_jax.data.prepare.sources import SUFFIXES
from inr_gan_jax.data.read.decode import decode_image
from tests.data.odd_images import (
    SIDE,
    bomb,
    broken,
    colours,
    convertible,
    deep_png,
    deep_tiff,
    encoded,
    png_chunk,
    rotated_jpeg,
)

EXACT = FitSettings(SIDE, SIDE)
HALF = SIDE // 2


def fitted(data: bytes, settings: FitSettings = EXACT) -> np.ndarray:
    return decode_image(fit_encoded(data, settings).data)


@pytest.mark.parametrize("name", sorted(convertible()))
def test_odd_kinds_become_8_bit_rgb(name: str) -> None:
    result = fit_encoded(convertible()[name], EXACT)
    with Image.open(io.BytesIO(result.data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIDE, SIDE))


@pytest.mark.parametrize(
    "name", ["bits16_colour.png", "bits16_colour.tif", "windows.bmp", "with spaces and ünïcödé 花.png"]
)
def test_lossless_kinds_keep_their_pixels(name: str) -> None:
    np.testing.assert_array_equal(fitted(convertible()[name]), colours())


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("lossy.webp", 12),
        ("phone.avif", 12),
        ("rotated.jpg", 6),
        ("lab.tif", 6),
        ("cmyk.jpg", 6),
        ("animated.gif", 24),
        ("palette.png", 24),
    ],
)
def test_lossy_kinds_keep_their_colours(name: str, tolerance: int) -> None:
    difference = fitted(convertible()[name]).astype(int) - colours()
    assert np.abs(difference).mean() < tolerance


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.asarray(Image.fromarray(colours()).convert("L"))
    np.testing.assert_array_equal(fitted(convertible()["bits16_grey.png"]), np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(fitted(convertible()["bits16_grey.pgm"]), fitted(convertible()["bits16_grey.png"]))
    np.testing.assert_array_equal(fitted(convertible()["grey.png"]), np.repeat(grey[..., None], 3, axis=2))


def deep_pixels(channels: int) -> np.ndarray:
    """Every 16-bit remainder of a division by 257, with opaque alpha."""
    pixels = np.random.default_rng(channels).integers(0, 2**16, (SIDE, SIDE, channels), dtype=np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    return pixels


def rounded(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels / 257).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_rounded(channels: int) -> None:
    pixels = deep_pixels(channels)
    expected = np.broadcast_to(rounded(pixels)[..., : 1 if channels < 3 else 3], (SIDE, SIDE, 3))
    np.testing.assert_array_equal(fitted(deep_png(pixels)), expected)
    decoded = decode_image(deep_png(pixels))
    np.testing.assert_array_equal(np.broadcast_to(decoded, (SIDE, SIDE, 3)), expected)


@pytest.mark.parametrize("tags", [{}, {"extra": 0}, {"extra": 2}])
@pytest.mark.parametrize("is_zipped", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_is_rounded(tags: dict, is_zipped: bool, order: str) -> None:
    pixels = deep_pixels(4 if tags else 3)
    data = deep_tiff(pixels, 2, is_zipped=is_zipped, order=order, **tags)
    np.testing.assert_array_equal(fitted(data), rounded(pixels)[..., :3])


def test_16_bit_cmyk_and_premultiplied_tiff_are_those_of_8_bits() -> None:
    cmyk = deep_pixels(4)
    expected = Image.frombytes("CMYK", (SIDE, SIDE), rounded(cmyk).tobytes()).convert("RGB")
    np.testing.assert_array_equal(fitted(deep_tiff(cmyk, 5)), np.asarray(expected))
    faded = np.full((SIDE, SIDE, 4), 32896, np.uint16)  # half of white, premultiplied
    image = fitted(deep_tiff(faded, 2, extra=1))
    assert (image == 255).all()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_16_bit_tiff_is_turned_upright(orientation: int) -> None:
    picture = colours(1, SIDE, 2 * SIDE)
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = turns[orientation]
    stored = picture if turn is None else np.asarray(Image.fromarray(picture).transpose(turn))
    data = deep_tiff(stored.astype(np.uint16) * 257, 2, orientation=orientation)
    np.testing.assert_array_equal(fitted(data, FitSettings(SIDE, 2 * SIDE)), picture)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_colour_key_shows_white(channels: int) -> None:
    # Two colours that are one in 8 bits: only the one that is meant is transparent.
    pixels = np.full((SIDE, SIDE, channels), 2570, np.uint16)
    pixels[:, HALF:] += 1
    image = fitted(deep_png(pixels, key=[2570] * channels))
    assert (image[:, :HALF] == 255).all()
    assert (image[:, HALF:] == 10).all()


def test_every_suffix_of_a_readable_format_is_taken_for_an_image() -> None:
    expected = {suffix for suffix, kind in Image.registered_extensions().items() if kind in READABLE}
    # A JPEG with a second picture behind the first; it is read as a JPEG.
    assert expected | {".mpo"} == SUFFIXES


@pytest.mark.parametrize("kind", READABLE)
def test_every_readable_format_is_read(kind: str) -> None:
    difference = fitted(encoded(colours(), kind)).astype(int) - colours()
    assert np.abs(difference).mean() < 24


@pytest.mark.parametrize("name", ["rgba.png", "grey_alpha.png"])
def test_transparent_parts_show_white(name: str) -> None:
    image = fitted(convertible()[name])
    assert (image[:, :HALF] == 255).all()
    assert (image[:, HALF:] != 255).any()


def test_one_bit_becomes_black_and_white() -> None:
    assert set(np.unique(fitted(convertible()["one_bit.png"]))) == {0, 255}


def test_exif_rotation_is_applied() -> None:
    picture = colours(1, SIDE, 2 * SIDE)
    upright = fitted(rotated_jpeg(picture), FitSettings(SIDE, 2 * SIDE))
    assert np.abs(upright.astype(int) - picture).mean() < 6


def test_a_rotated_picture_is_never_copied() -> None:
    result = fit_encoded(rotated_jpeg(colours()), FitSettings(SIDE, SIDE, image_format="jpeg"))
    assert not result.is_copied
    assert np.abs(decode_image(result.data).astype(int) - colours()).mean() < 6


@pytest.mark.parametrize("name", sorted(broken()))
def test_broken_files_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(BadImageError) as caught:
        fit_encoded(broken()[name], EXACT)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value), "an address in memory differs from run to run"


@pytest.mark.parametrize("side", [10_001, 20_000])
def test_bombs_are_refused_before_they_are_decoded(side: int) -> None:
    data = bomb(64).replace((64).to_bytes(4, "big") * 2, side.to_bytes(4, "big") * 2)
    header = data[12:29]
    data = data[:8] + png_chunk(header[:4], header[4:]) + data[33:]
    assert side**2 > MAX_PIXELS
    with pytest.raises(BadImageError, match=r"pixels.*expected at most"):
        fit_encoded(data, EXACT)


def test_crop_takes_the_centre_of_the_wanted_aspect() -> None:
    picture = np.zeros((20, 44, 3), np.uint8)
    picture[:, 12:32] = (200, 100, 50)
    assert (fitted(encoded(picture), FitSettings(10, 10)) == (200, 100, 50)).all()
    stretched = fitted(encoded(picture), FitSettings(10, 11, crop="none"))
    assert (stretched[:, 0] == 0).all()
    assert (stretched[:, 5] == (200, 100, 50)).all()


def test_rectangles_are_allowed() -> None:
    assert fitted(encoded(colours(0, 40, 40)), FitSettings(8, 16)).shape == (8, 16, 3)


def test_box_filter_is_the_mean_and_differs_from_lanczos() -> None:
    picture = colours(3, 32, 32).copy()
    picture[::4] = 255 - picture[::4]
    box = fitted(encoded(picture), FitSettings(8, 8, resize_filter="box"))
    means = picture.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    # Pillow rounds after each of the two directions.
    assert np.abs(box - means).max() <= 1
    assert (box != fitted(encoded(picture), FitSettings(8, 8, resize_filter="lanczos"))).any()


@pytest.mark.parametrize(("kind", "options"), [("png", {}), ("jpeg", {"quality": 80}), ("webp", {"quality": 80})])
def test_what_fits_is_not_encoded_anew(kind: str, options: dict) -> None:
    data = encoded(colours(), kind.upper(), **options)
    result = fit_encoded(data, FitSettings(SIDE, SIDE, image_format=kind))  # type: ignore[arg-type]
    assert (result.data, result.is_copied) == (data, True)


def test_copied_png_keeps_pixels_and_nothing_else() -> None:
    plain = encoded(colours())
    loaded = plain[:33] + png_chunk(b"tEXt", b"Comment\0taken at home") + plain[33:]
    assert fit_encoded(loaded, EXACT).data == plain


def test_encoded_anew_drops_what_is_not_pixels() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    data = encoded(colours(0, 32, 32), exif=exif, icc_profile=b"profile" * 30)
    result = fit_encoded(data, EXACT)
    assert not result.is_copied
    with Image.open(io.BytesIO(result.data)) as image:
        assert not image.getexif()
        assert "icc_profile" not in image.info


def test_16_bit_png_of_the_right_size_is_not_copied() -> None:
    assert not fit_encoded(convertible()["bits16_colour.png"], EXACT).is_copied


def test_smaller_pictures_are_enlarged_and_said_to_be() -> None:
    assert fit_encoded(encoded(colours(0, 8, 8)), EXACT).is_enlarged
    assert not fit_encoded(encoded(colours(0, 32, 32)), EXACT).is_enlarged


def test_grey_sets_are_grey() -> None:
    assert fitted(encoded(colours()), FitSettings(SIDE, SIDE, channels=1)).shape == (SIDE, SIDE, 1)


def test_without_settings_the_bytes_stay() -> None:
    data = encoded(colours(0, 20, 30), "WEBP")
    assert fit_encoded(data, None).data == data
    with pytest.raises(BadImageError):
        fit_encoded(data[:100], None)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {"quality": 75}), ("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 80})],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decoders_agree_with_pillow(kind: str, options: dict, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).convert(mode), kind, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(decode_image(data), expected.reshape(33, 47, -1))


@pytest.mark.parametrize("name", sorted(convertible()))
def test_odd_kinds_can_be_decoded_in_sets_of_others(name: str) -> None:
    image = decode_image(convertible()[name])
    assert (image.dtype, image.shape[:2]) == (np.uint8, (SIDE, SIDE))
    assert image.shape[2] in (1, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_of_the_wanted_shape_are_decoded_in_place(kind: str) -> None:
    data = encoded(colours(), kind)
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert decode_image(data, out) is out
    np.testing.assert_array_equal(out, decode_image(data))


@pytest.mark.parametrize("shape", [(SIDE, SIDE, 1), (SIDE, SIDE + 1, 3), (2 * SIDE, SIDE, 3)])
def test_images_of_another_shape_are_decoded_beside(shape: tuple[int, int, int]) -> None:
    data = encoded(colours())
    image = decode_image(data, np.zeros(shape, np.uint8))
    np.testing.assert_array_equal(image, colours())
