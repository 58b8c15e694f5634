"""What the server answers equals what the tools draw, and mistakes end in a sentence."""

import socket
import time
import urllib.parse
from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.inference.inr_file import load_inr
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.inference.super_resolution import resize
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.viewer.drawing import Drawing, InrWork
from inr_gan_jax.viewer.plane import Tile, viewport_at, viewport_of
from inr_gan_jax.viewer.programs import CPU_PIECES
from inr_gan_jax.viewer.scene import ImageChoice, Scene
from tests.closeness import assert_close
from tests.inference.tools import image_of, loaded_paper
from tests.viewer.client import ask, serving_drawing

SIZE = loaded_paper().generator.size


def drawn(seed: int, view: Viewport) -> np.ndarray:
    return to_uint8(render(loaded_paper(), image_of(loaded_paper(), seed), view)).astype(int)


def test_tile_is_the_render(address: str) -> None:
    answer = ask(address, "tile/inr/1/-1/2.png?seed=7")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    expected = drawn(7, viewport_of(Tile(1, -1, 2), SIZE, "pointwise"))
    assert np.abs(answer.picture - expected).max() <= 1
    assert expected.std() > 1


def test_tile_of_a_filter_is_the_enlarged_picture(address: str) -> None:
    answer = ask(address, "tile/lanczos/0/0/0.png?seed=7")
    native = render(loaded_paper(), image_of(loaded_paper(), 7), loaded_paper().generator.native_viewport)
    expected = to_uint8(resize(native, (256, 256), "lanczos"))
    assert np.abs(answer.picture[..., :1].astype(int) - expected).max() <= 1


def test_same_tile_is_not_sent_again(address: str) -> None:
    first = ask(address, "tile/inr/1/0/0.png?seed=7")
    again = ask(address, "tile/inr/1/0/0.png?seed=7", {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    other = ask(address, "tile/inr/1/0/0.png?seed=8", {"If-None-Match": first.headers["ETag"]})
    assert other.status == 200


def test_picture_is_the_render_of_its_rectangle(address: str) -> None:
    answer = ask(address, "picture.png?seed=7&left=-0.3&top=0.1&extent=1.5&width=300&height=270")
    view = viewport_at((0.1, -0.3), (1.5 / 300 * 270, 1.5), (270, 300), SIZE, "pointwise")
    assert answer.picture.shape == (270, 300, 1)
    assert np.abs(answer.picture - drawn(7, view)).max() <= 1
    assert 'filename="seed_7_300x270.png"' in answer.headers["Content-Disposition"]


@pytest.mark.parametrize(("query", "share"), [("seed=7", None), ("seed=7&to=8&t=0.5&space=image", 0.5)])
def test_file_draws_the_image(address: str, drawing: Drawing, query: str, share: float | None, tmp_path: Path) -> None:
    answer = ask(address, f"image.inr.safetensors?{query}")
    path = tmp_path / "image.inr.safetensors"
    path.write_bytes(answer.body)
    loaded, modulation = load_inr(path)
    choice = ImageChoice(7) if share is None else ImageChoice(7, 8, share, "image")
    native = render(loaded, modulation, loaded.generator.native_viewport)
    assert_close(native, drawing.images.get(choice).native)


def test_information_is_complete_and_names_no_folder(address: str) -> None:
    answer = ask(address, "info.json")
    assert answer.json["native"] == {"height": SIZE[0], "width": SIZE[1]}
    assert answer.json["spaces"] == ["z", "w", "image"]
    assert "/" not in answer.body.decode()


def test_page_has_its_parts_and_its_guards(address: str) -> None:
    page = ask(address, "")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "javascript" in ask(address, "static/main.js").headers["Content-Type"]
    assert "server" not in page.headers


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("tile/inr/1/0/0.png?seed=x", 400, "seed is 'x', expected a whole number"),
        (
            "tile/inr/1/0/0.png?seed=4294967296",
            400,
            "seed is '4294967296', expected a whole number from 0 to",
        ),
        ("picture.png?seed=-1", 400, "seed is '-1', expected a whole number from 0 to 4294967295"),
        ("tile/inr/99/0/0.png", 404, "there is no such tile"),
        ("tile/inr/0/512/0.png", 404, "there is no such tile"),
        ("tile/inr/0/1e9/0.png", 400, "column is '1e9', expected a whole number"),
        ("tile/oil/0/0/0.png", 404, "tiles are rendered by inr, nearest"),
        ("picture.png?width=16384&height=16384", 400, "expected at most 16,777,216"),
        ("picture.png?width=0", 400, "width is '0', expected a whole number from 1"),
        ("picture.png?extent=0", 400, "too coarse, too fine, or too far away"),
        ("picture.png?extent=900&width=100&height=100", 400, "too coarse, too fine, or too far away"),
        ("picture.png?left=511&width=4096&height=64&extent=0.01", 400, "too coarse, too fine, or too far away"),
        ("picture.png?left=inf", 400, "left is 'inf', expected a number from -512 to 512"),
        ("image.inr.safetensors?width=3", 400, "'width' is not a key of this URL"),
        ("static/../server.py", 404, "there is nothing at this URL"),
        ("static/%2e%2e%2fserver.py", 404, "there is nothing at this URL"),
        ("static//etc/passwd", 404, "there is nothing at this URL"),
        ("docs", 404, "there is nothing at this URL"),
    ],
)
def test_wrong_addresses_end_in_a_sentence(address: str, path: str, status: int, sentence: str) -> None:
    answer = ask(address, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert sentence in answer.sentence
    assert "\n" not in answer.sentence


def test_only_reading_is_answered(address: str) -> None:
    assert ask(address, "info.json", method="POST").status == 405


def test_full_queue_refuses_and_goes_on() -> None:
    drawing = Drawing(loaded_paper(), CPU_PIECES, most_waiting=0)
    with serving_drawing(drawing) as url:
        answer = ask(url, "tile/inr/1/0/0.png")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert "tiles are waiting" in answer.sentence
        assert ask(url, "info.json").status == 200
    drawing.close()


def test_tiles_that_nobody_waits_for_are_not_drawn(address: str, drawing: Drawing) -> None:
    target = urllib.parse.urlsplit(address)
    sockets = []
    for column in range(60):
        request = f"GET /tile/inr/5/{column}/3.png?seed=99 HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n"
        sockets.append(socket.create_connection((target.hostname, target.port)))
        sockets[-1].sendall(request.encode())
    end = time.monotonic() + 10
    while drawing.num_waiting < 20 and time.monotonic() < end:
        time.sleep(0.001)
    assert drawing.num_waiting >= 20
    for each in sockets:
        each.close()
    while drawing.num_waiting and time.monotonic() < end:
        time.sleep(0.001)
    kept = [drawing.cached_tile(work_of(drawing, column)) for column in range(60)]
    assert sum(data is not None for data in kept) < 45


def work_of(drawing: Drawing, column: int) -> InrWork:
    return drawing.tile_work(Scene(ImageChoice(99), "pointwise"), Tile(5, column, 3))
