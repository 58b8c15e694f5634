"""A run folder is one run's at a time."""

import dataclasses
import functools
import shutil
import threading
from pathlib import Path

import pytest
from etils import epath

from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.prepare.fit_image import FitSettings
from inr_gan_jax.data.prepare.preparation import SetIdentity
from inr_gan_jax.data.prepare.prepare_set import Options, prepare_set
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning import dry_run
from inr_gan_jax.training import loop
from inr_gan_jax.training.run_folder import check_data, note_data, occupied
from tests.conftest import tiny_config
from tests.data.odd_images import colours, encoded, write_folder


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


def prepared(root: Path, first: int, count: int) -> None:
    """Puts a set of pictures in the place of the one before."""
    files = {f"{number}.png": encoded(colours(number)) for number in range(first, first + count)}
    source = write_folder(root / f"source-{first}-{count}", files)
    shutil.rmtree(root / "few", ignore_errors=True)
    prepare_set(Options(str(source), root / "few", root, FitSettings(8, 8, channels=1)))


def few_config(root: Path, steps: int) -> Config:
    data = {"name": "few", "data_dir": str(root), "x_flip": True}
    training = {"total_kimg": steps * 8 / 1000, "checkpoint_kimg": 0.016}
    return dataclasses.replace(tiny_config(data=data, training=training, loss={"r1_gamma": 0.0}), num_devices=1)


def refusal(root: Path, workdir: Path) -> str:
    """What a run says that cannot continue; nothing of it is touched."""
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    with pytest.raises(UserError) as caught:
        loop.train(few_config(root, 4), workdir)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    assert "damaged" not in str(caught.value)
    return str(caught.value)


def test_a_run_on_fewer_images_than_a_batch_notices_another_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, 0, 3)
    loop.train(few_config(tmp_path, 2), tmp_path / "run")
    assert (
        "3 images of few, repeated within each batch of 8, each mirrored with probability 1/2"
        in capsys.readouterr().out
    )

    prepared(tmp_path, 7, 3)
    sentence = refusal(tmp_path, tmp_path / "run")
    assert "few holds other images than when the run started, 3 as before" in sentence
    assert f"delete {tmp_path / 'run' / 'data.json'} if you know" in sentence
    assert f"DOES NOT FIT: {sentence}" in dry_run.describe(few_config(tmp_path, 4), epath.Path(tmp_path / "run"))
    prepared(tmp_path, 0, 5)
    assert "few has changed since the run started: 3 images then, 5 now" in refusal(tmp_path, tmp_path / "run")
    # A run of an earlier version has no note of its set; its position in the data knows the number of images.
    (tmp_path / "run" / "data.json").unlink()
    with pytest.raises(UserError, match="few has changed since the run started: 3 images then, 5 now"):
        loop.train(few_config(tmp_path, 4), tmp_path / "run")
    assert not (tmp_path / "run" / "data.json").exists()
    # The same images, prepared again, are the same set.
    prepared(tmp_path, 0, 3)
    assert int(loop.train(few_config(tmp_path, 3), tmp_path / "run").step) == 3
    assert "resuming from" in capsys.readouterr().out


def test_a_plan_tells_a_set_of_another_size_from_one_that_is_not_there(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", {"1.png": encoded(colours(0))})
    prepare_set(Options(str(source), tmp_path / "small", tmp_path, FitSettings(32, 32)))
    shape = {"data_dir": str(tmp_path), "channels": 3, "height": 64, "width": 64}
    plans = {
        name: dry_run._plan(tiny_config(data={"name": name, **shape}), epath.Path(tmp_path / "run"))
        for name in ("small", "smal")
    }
    assert "NOT THERE: data set 'smal' is not prepared" in plans["smal"]
    assert "NOT THERE" not in plans["small"]
    assert "DOES NOT FIT: images of small are 32x32, but config.data asks for 64x64" in plans["small"]
    assert "--config=configs/folder.py:32 fits" in plans["small"]


def test_a_run_without_a_checkpoint_may_begin_with_other_images(tmp_path: Path) -> None:
    folder, first, second = epath.Path(tmp_path), SetIdentity(3, "a"), SetIdentity(4, "b")
    check_data(folder, first, "few")
    note_data(folder, first)
    check_data(folder, second, "few")
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    check_data(folder, first, "few")
    check_data(folder, None, "digits")
    with pytest.raises(UserError, match="3 images then, 4 now"):
        check_data(folder, second, "few")
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(UserError, match=r"data.json cannot be read .*; delete it to continue"):
        check_data(folder, first, "few")


def test_training_does_not_begin_in_an_occupied_folder(
    tmp_path: Path, digits_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "occupied", functools.partial(occupied, seconds=0))
    config = dataclasses.replace(tiny_config(data={"data_dir": str(digits_root)}), num_devices=1)
    with occupied(epath.Path(tmp_path)), pytest.raises(UserError, match="another process trains"):
        loop.train(config, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "samples"}
