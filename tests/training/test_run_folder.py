"""A run folder is one run's at a time."""

import dataclasses
import functools
import threading
from pathlib import Path

import pytest
from etils import epath

from inr_gan_jax.errors import UserError
from inr_gan_jax.training import loop
from inr_gan_jax.training.run_folder import occupied
from tests.conftest import tiny_config


def test_folder_of_a_run_is_refused_to_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = epath.Path(tmp_path)
    with (
        occupied(folder),
        pytest.raises(UserError, match=r"another process trains in workdir .*; wait for its end or choose another"),
        occupied(folder, seconds=0),
    ):
        pass
    assert capsys.readouterr().err == ""
    with occupied(folder, seconds=0):
        assert list(tmp_path.iterdir()) == []


def test_a_run_waits_for_one_that_is_about_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, is_held, may_end, order = epath.Path(tmp_path), threading.Event(), threading.Event(), []

    def hold() -> None:
        with occupied(folder):
            is_held.set()
            may_end.wait(30)
            order.append("first ends")

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(30)
    threading.Timer(0.5, may_end.set).start()
    with occupied(folder, seconds=30):
        order.append("second begins")
    thread.join()
    assert order == ["first ends", "second begins"]
    assert capsys.readouterr().err == f"another process trains in workdir {tmp_path}; waiting for its end\n"


def test_training_does_not_begin_in_an_occupied_folder(
    tmp_path: Path, digits_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "occupied", functools.partial(occupied, seconds=0))
    config = dataclasses.replace(tiny_config(data={"data_dir": str(digits_root)}), num_devices=1)
    with occupied(epath.Path(tmp_path)), pytest.raises(UserError, match="another process trains"):
        loop.train(config, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "samples"}
