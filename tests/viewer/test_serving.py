"""The command: mistakes end in one sentence before anything is loaded, and the notebook shows a frame."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.viewer import __main__ as command
from inr_gan_jax.viewer import notebook, serving
from inr_gan_jax.viewer.drawing import Drawing
from tests.conftest import small_release_config
from tests.inference.tools import loaded_paper, random_generator, run_tool
from tests.viewer.client import ask

ROOT = Path(__file__).resolve().parents[2]


def sentence_of(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        run_tool(command, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _own_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")


def test_missing_checkpoint() -> None:
    assert sentence_of("--checkpoint=nowhere", "--port=0").startswith("nowhere does not exist, expected a run folder")


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = sentence_of("--checkpoint=nowhere", f"--port={port}")
    assert sentence.startswith(f"port {port} of 127.0.0.1 is unavailable (Address already in use)")


def test_unknown_host() -> None:
    assert sentence_of("--checkpoint=nowhere", "--host=no.such.host.invalid").startswith(
        "host is 'no.such.host.invalid'"
    )


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    assert sentence_of("--checkpoint=nowhere") == "the viewer needs uvicorn: pip install 'inr_gan_jax[viewer]'"


def test_network_of_one_picture_is_refused() -> None:
    loaded = random_generator(small_release_config(release={"upsampling": "bilinear"}))
    with pytest.raises(UserError, match="an endless image is not possible"):
        notebook.show_viewer(loaded)


def test_help_lists_the_flags() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inr_gan_jax.viewer", "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    for flag in ("--checkpoint", "--host", "--port", "--token"):
        assert flag in done.stdout


@pytest.mark.parametrize(("host", "has_token"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_other_hosts_need_a_token(
    host: str, has_token: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    class NoServer:
        def run(self, sockets: list[socket.socket]) -> None:
            assert sockets

    monkeypatch.setattr(serving, "prepare", lambda drawing: drawing.close())
    monkeypatch.setattr(serving, "made_server", lambda drawing, access: made.append(access) or NoServer())
    with serving.open_socket(host, 0) as listener:
        serving.serve(loaded_paper(), listener, host)
    (access,) = made
    assert (access.token is not None) == has_token
    assert (access.hosts is None) == has_token
    if has_token:
        assert len(access.token) >= 24
        assert f"/?token={access.token} " in capsys.readouterr().out


@pytest.mark.slow
def test_start_compiles_what_tiles_need(drawing: Drawing) -> None:
    serving.prepare(drawing)
    before = drawing.programs.count
    assert before >= 3
    serving.prepare(drawing)
    assert drawing.programs.count == before


def test_notebook_shows_a_running_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "prepare", lambda drawing: None)
    frame = notebook.show_viewer(loaded_paper(), height=300)
    assert frame.height == 300
    assert ask(frame.src, "info.json").status == 200
