"""The page in a real Chromium: what is on the screen is what `render` draws, and nothing complains."""

import base64
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.inference.inr_file import load_inr
from inr_gan_jax.inference.latent_paths import Interpolation
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.viewer.drawing import Drawing
from inr_gan_jax.viewer.plane import viewport_at
from inr_gan_jax.viewer.scene import ImageChoice
from tests.closeness import assert_close
from tests.inference.tools import loaded_paper

pytestmark = pytest.mark.slow

CHROMIUM = os.environ.get("INR_GAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZE = {"width": 960, "height": 420}
PHONE = {"width": 390, "height": 700}
# The screen shows tiles at another scale than they were drawn at, smoothed.
MEAN_DIFFERENCE, MOST_DIFFERENCE = 1.5, 12

if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the viewer; in the end nothing may have been complained of, and no other host asked."""
    complaints: list[str] = []
    contexts = []

    def opened(choices: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": SIZE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "blob:")) or complaints.append(request.url))
        page.goto(f"{address}#{choices}")
        settle(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def settle(page: Any) -> None:
    """Waits until all that the view needs is on the screen."""
    calm = 0
    for _ in range(600):
        is_calm = page.evaluate(
            "() => Boolean(window.viewerStage?.isSettled && !viewerStage.isLoading && viewerStage.drawn.inr[0].item"
            "?.getFullyLoaded())"
        )
        calm = calm + 1 if is_calm else 0
        if calm == 4:
            return
        page.wait_for_timeout(40)
    raise AssertionError("the page does not come to rest")


def screen(page: Any) -> np.ndarray:
    """[height, width], grey levels of the picture on the screen."""
    data = page.evaluate("() => viewerStage.viewer.drawer.canvas.toDataURL()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")).astype(int)


def expected_screen(page: Any, pixels: np.ndarray, choice: ImageChoice) -> np.ndarray:
    """What `render` draws of the view that the page says it shows."""
    view = page.evaluate("() => viewerStage.view")
    loaded = loaded_paper()
    viewport = viewport_at(
        (view["top"], view["left"]), (view["height"], view["width"]), pixels.shape, loaded.generator.size, "pointwise"
    )
    other = choice.seed if choice.other is None else choice.other
    interpolation = Interpolation(loaded, (choice.seed, other))
    image = interpolation.image(interpolation.path("image").at(0, choice.share), "image", viewport)
    return to_uint8(image)[..., 0].astype(int)


def assert_shows(page: Any, choice: ImageChoice) -> None:
    pixels = screen(page)
    difference = np.abs(pixels - expected_screen(page, pixels, choice))
    assert difference.mean() < MEAN_DIFFERENCE
    assert difference.max() < MOST_DIFFERENCE


def span(page: Any) -> float:
    return page.evaluate("() => viewerStage.view.span")


def test_page_opens_on_the_trained_picture(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    assert_shows(page, ImageChoice(3))
    assert screen(page).std() > 4
    border = page.locator("#border").bounding_box()
    middle = (border["x"] + border["width"] / 2, border["y"] + border["height"] / 2)
    stage = page.locator("#stage").bounding_box()
    np.testing.assert_allclose(middle, (stage["width"] / 2, stage["height"] / 2), atol=2)


def test_tiles_are_asked_for_one_after_the_other_and_coarse_ones_first(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    assert page.evaluate("() => viewerStage.info.parallel") == 1
    asked = page.evaluate(
        "() => performance.getEntriesByType('resource').map(({name, requestStart, responseStart}) =>"
        " [name, requestStart, responseStart]).filter(([name]) => name.includes('/tile/'))"
    )
    levels = [int(name.partition("/tile/inr/")[2].partition("/")[0]) for name, _, _ in asked]
    assert len(set(levels)) == 2
    assert levels == sorted(levels)
    # Answers begin before the next is asked for.
    assert all(after[1] >= before[2] for before, after in itertools.pairwise(asked))


def test_panning_three_screens_out_goes_on(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    stage = page.locator("#stage").bounding_box()
    before = page.evaluate("() => viewerStage.view.x")
    for _ in range(4):
        page.mouse.move(stage["width"] - 10, 200)
        page.mouse.down()
        page.mouse.move(10, 200, steps=5)
        page.wait_for_timeout(300)
        page.mouse.up()
    settle(page)
    view = page.evaluate("() => viewerStage.view")
    assert view["x"] - before > 3 * view["width"]
    assert_shows(page, ImageChoice(3))


def test_wheel_zooms_to_64(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    stage = page.locator("#stage").bounding_box()
    page.mouse.move(stage["width"] / 2 + 20, 180)
    while span(page) > 1 / 64:
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(30)
    settle(page)
    assert "trained pixel" in page.locator("#place").inner_text()
    assert_shows(page, ImageChoice(3))


def test_sliding_through_weights_shows_means_of_weights(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3&to=4&t=0&space=image")
    for share in ("0.2", "0.4", "0.35"):
        page.locator("#t").fill(share)
    settle(page)
    assert_shows(page, ImageChoice(3, 4, 0.35))


def test_picture_is_saved_as_render_draws_it(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3&x=0.4&y=0.7&span=0.5")
    page.locator("#save-width").fill("300")
    with page.expect_download() as download:
        page.locator("#save-picture").click()
    pixels = np.asarray(Image.open(download.value.path())).astype(int)
    assert pixels.shape[1] == 300
    assert np.abs(pixels - expected_screen(page, pixels, ImageChoice(3))).max() <= 2


def test_image_is_saved_as_a_file_that_draws_it(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page("seed=3")
    with page.expect_download() as download:
        page.locator("#save-inr").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    loaded, modulation = load_inr(path)
    native = loaded.generator.native_viewport
    expected = render(loaded_paper(), Interpolation(loaded_paper(), (3,))._modulation(ws_of(3)), native)
    assert_close(render(loaded, modulation, native), expected)


def ws_of(seed: int) -> np.ndarray:
    interpolation = Interpolation(loaded_paper(), (seed,))
    return interpolation.path("w").keys[0]


def test_link_restores_the_view(open_page: Callable[..., Any]) -> None:
    page = open_page(
        "seed=3&to=4&t=0.3&space=w&rule=all&psi=0.7&style=5&layers=0,2&compare=lanczos&x=0.2&y=1.3&span=0.4"
    )
    page.locator("#copy-link").click()
    address = page.evaluate("() => location.hash")
    view, choices = page.evaluate("() => [viewerStage.view, viewerControls.choices]")
    again = open_page(address[1:])
    restored, chosen = again.evaluate("() => [viewerStage.view, viewerControls.choices]")
    assert chosen == choices
    assert choices["layers"] == [0, 2]
    np.testing.assert_allclose([restored[key] for key in view], list(view.values()), rtol=1e-6)


def test_curtain_shows_the_filter_to_its_left(open_page: Callable[..., Any], drawing: Drawing) -> None:
    page = open_page("seed=3&compare=nearest")
    page.locator("#curtain-place").fill("700")
    settle(page)
    pixels = screen(page)
    view = page.evaluate("() => viewerStage.view")
    native = to_uint8(drawing.images.get(ImageChoice(3)).native)[..., 0]
    at_x, at_y = 0.3, 0.55
    column = round((at_x - view["left"]) / view["width"] * pixels.shape[1])
    row = round((at_y - view["top"]) / view["height"] * pixels.shape[0])
    assert column < 0.7 * pixels.shape[1]
    assert abs(pixels[row, column] - int(native[int(at_y * 8), int(at_x * 8)])) <= 1
    expected = expected_screen(page, pixels, ImageChoice(3))
    right = slice(round(0.72 * pixels.shape[1]), None)
    assert np.abs(pixels - expected)[:, right].max() < MOST_DIFFERENCE


def test_keys_do_what_the_page_says(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    page.keyboard.press("n")
    assert page.locator("#seed").input_value() != "3"
    page.keyboard.press("c")
    assert page.locator("#compare").input_value() == "nearest"
    page.locator("#picture canvas, #picture .openseadragon-canvas").first.focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.evaluate("() => viewerStage.view.x") > 0.5
    page.keyboard.press("+")
    settle(page)
    assert abs(span(page) - 1.25 / 1.5) < 0.01
    page.keyboard.press("0")
    settle(page)
    assert abs(span(page) - 1.25) < 0.01


def test_page_fits_a_phone(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3", viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert not page.locator("#panel").is_visible()
    page.locator("#panel-toggle").tap()
    assert page.locator("#seed").is_visible()
    box = page.locator("#seed-random").bounding_box()
    assert min(box["width"], box["height"]) >= 44
    page.locator("#seed-random").tap()
    settle(page)
    assert_shows(page, ImageChoice(int(page.locator("#seed").input_value())))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page("seed=3", color_scheme=scheme)
    colours = page.evaluate(
        "() => ['color', 'backgroundColor'].map((name) => getComputedStyle(document.querySelector('#panel'))[name])"
    )
    faint = page.evaluate("() => getComputedStyle(document.querySelector('#subtitle')).color")
    assert contrast(colours[0], colours[1]) > 7
    assert contrast(faint, colours[1]) > 4.5
    assert (luminance(colours[1]) < 0.1) == (scheme == "dark")


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`. Source: WCAG 2.2, relative luminance."""
    parts = np.array([int(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_spectrum_is_the_fourier_transform(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    grey = np.random.default_rng(0).uniform(0, 255, (16, 16))
    power = page.evaluate(
        "async (grey) => [...(await import('./static/spectrum.js')).powerSpectrum(Float64Array.from(grey), 16)]",
        grey.ravel().tolist(),
    )
    window = np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2
    expected = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * np.outer(window, window)))) ** 2 / 16**2
    assert_close(np.reshape(power, (16, 16)), expected)


def test_refusals_are_said(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=3")
    page.locator("#save-width").fill("20000")
    assert page.locator("#save-size").inner_text() == "too large"
    assert page.locator("#save-picture").is_disabled()


@pytest.mark.parametrize(("field", "name"), [("seed", "Seed"), ("to", "Second seed"), ("style", "Style seed")])
def test_impossible_seed_is_said_and_changes_nothing(open_page: Callable[..., Any], field: str, name: str) -> None:
    page = open_page("seed=3&to=4&style=5&layers=0")
    before = page.evaluate("() => viewerControls.choices")
    for text in ("4294967296", "-1", "1.5"):
        page.locator(f"#{field}").fill(text)
        message = page.locator("#message").inner_text()
        assert message.startswith(f"{name} is {text}, expected a whole number from 0 to 4294967295.")
        assert f"still shows {before[field]}" in message
        assert page.evaluate("() => viewerControls.choices") == before
    page.locator(f"#{field}").fill("7")
    assert page.locator("#message").is_hidden()
    assert page.evaluate("() => viewerControls.choices")[field] == 7
    settle(page)


def test_parts_of_an_address_that_do_not_fit_are_said(open_page: Callable[..., Any]) -> None:
    page = open_page("seed=4294967296&psi=7&t=0.25")
    assert "seed=4294967296, psi=7" in page.locator("#message").inner_text()
    assert page.evaluate("() => viewerControls.choices.t") == 0.25
