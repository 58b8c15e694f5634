"""Tokens, host names, rates and slow readers."""

import contextlib
import hmac
import socket
import time
import urllib.parse
from collections.abc import Iterator

import pytest

from inr_gan_jax.viewer.access import COOKIE, AccessSettings
from inr_gan_jax.viewer.drawing import Drawing
from tests.viewer.client import ask, serving_drawing

TOKEN = "of-this-test"


@pytest.fixture(scope="module")
def locked(drawing: Drawing) -> Iterator[str]:
    """A server that wants a token."""
    access = AccessSettings(token=TOKEN, hosts=frozenset({"127.0.0.1"}))
    with serving_drawing(drawing, access) as url:
        yield url


def test_right_token_opens_and_leaves_the_address(locked: str) -> None:
    answer = ask(locked, f"?token={TOKEN}")
    assert (answer.status, answer.headers["Location"]) == (303, "./")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert ask(locked, "info.json", {"Cookie": cookie.split(";")[0]}).status == 200


def test_token_may_stand_in_the_header(locked: str) -> None:
    assert ask(locked, "info.json", {"Authorization": f"Bearer {TOKEN}"}).status == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("", {}),
        ("static/main.js", {}),
        ("tile/inr/0/0/0.png", {}),
        ("info.json", {"Authorization": f"Bearer {TOKEN}x"}),
        ("info.json", {"Authorization": "Bearer " + "\u00e4".encode().decode("latin-1")}),
        ("info.json", {"Cookie": f"{COOKIE}=wrong"}),
        ("info.json", {"Cookie": "=;;[]\\"}),
        ("?token=wrong", {}),
        ("?token=", {}),
        ("?token=%ff%00", {}),
        ("nowhere", {}),
    ],
)
def test_wrong_token_gets_401_everywhere(locked: str, path: str, headers: dict[str, str]) -> None:
    answer = ask(locked, path, headers)
    assert answer.status == 401
    assert "token" in answer.sentence
    assert TOKEN not in answer.sentence


def test_tokens_are_compared_in_constant_time(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda given, token: compared.append((given, token)) or given == token)
    ask(locked, "info.json", {"Authorization": "Bearer guess"})
    ask(locked, "?token=guess")
    assert compared == [(b"guess", TOKEN.encode())] * 2


def test_rebound_names_are_refused(locked: str) -> None:
    answer = ask(locked, "info.json", {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example:80"})
    assert (answer.status, answer.sentence) == (421, "this viewer does not answer to that host name")


def test_too_many_requests_are_refused_for_a_moment(drawing: Drawing) -> None:
    with serving_drawing(drawing, AccessSettings(requests_per_second=20, burst=5)) as url:
        statuses = [ask(url, "info.json").status for _ in range(10)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        time.sleep(0.3)
        assert ask(url, "info.json").status == 200


def test_slow_readers_are_left_in_silence(drawing: Drawing, capfd: pytest.CaptureFixture[str]) -> None:
    with serving_drawing(drawing, AccessSettings(send_seconds=0.3)) as url:
        target = urllib.parse.urlsplit(url)
        request = f"GET /static/openseadragon.min.js HTTP/1.1\r\nHost: {target.netloc}\r\n\r\n"
        received = 0
        with socket.socket() as reader, contextlib.suppress(ConnectionError):
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect((target.hostname, target.port))
            # Many answers, so that the buffers of the system are full, too.
            reader.sendall(request.encode() * 40)
            time.sleep(1.5)
            while part := reader.recv(2**16):
                received += len(part)
        assert received < 20 * 352_735
        assert ask(url, "info.json").status == 200
    assert capfd.readouterr().err == ""


def test_frames_are_allowed_to_notebooks_only(drawing: Drawing) -> None:
    with serving_drawing(drawing, AccessSettings(may_be_framed=True)) as url:
        assert "X-Frame-Options" not in ask(url, "").headers
