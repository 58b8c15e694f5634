"""A run whose folder lies in a bucket, against a fake that can do no more than an object store."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from inr_gan_jax.checkpoint.manager import DAMAGED, Checkpointer
from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.storage import GrowingFile, append_line, is_remote
from inr_gan_jax.training import loop
from inr_gan_jax.training.collapse_monitor import CollapseRecord
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.progress import write_training_plot
from tests.conftest import tiny_config
from tests.small_checkpoints import assert_holds, make_iterator, make_state, save
from tests.training.fake_bucket import FakeBucket, make_fake_bucket


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return make_fake_bucket(tmp_path / "bucket", monkeypatch)


def config(digits_root: Path, steps: int) -> Config:
    every_second = {"log_kimg": 0.016, "checkpoint_kimg": 0.016, "sample_kimg": 0.016}
    made = tiny_config(
        training={"total_kimg": steps * 8 / 1000, "keep_checkpoints": 1, **every_second},
        data={"data_dir": str(digits_root)},
        loss={"r1_gamma": 0.0},
    )
    return dataclasses.replace(made, num_devices=1)


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_run_in_a_bucket_goes_on_and_ends_as_one_on_a_disk(
    bucket: str, digits_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    local, remote, there = tmp_path / "run", f"{bucket}/runs/one", tmp_path / "bucket" / "bucket" / "runs" / "one"
    expected = loop.train(config(digits_root, 6), local)
    loop.train(config(digits_root, 4), remote)
    # What a save that was cut off leaves: everything but the file that makes it count.
    unfinished = there / "checkpoints" / "5" / "state"
    unfinished.mkdir(parents=True)
    (unfinished / "manifest.ocdbt").write_bytes(b"half")
    found = loop.train(config(digits_root, 6), remote)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    said = capsys.readouterr().out
    assert "resuming from 0.0 kimg" in said
    assert "no TensorBoard files are written into a bucket" in said

    steps = [line["step"] for line in read_metrics(remote)]
    assert steps == [line["step"] for line in read_metrics(local)] == [2, 4, 6]
    left = names_below(there)
    assert {name for name in left if not name.startswith("checkpoints/")} == {
        name for name in names_below(local) if not name.startswith(("checkpoints/", "tensorboard/"))
    }
    assert {name.split("/")[1] for name in left if name.startswith("checkpoints/")} == {"6"}
    assert len((there / "starts.jsonl").read_text().splitlines()) == 2
    with pytest.raises(UserError, match="belongs to another configuration"):
        loop.train(dataclasses.replace(config(digits_root, 6), seed=1), remote)


def test_damaged_checkpoint_in_a_bucket_is_moved_beside_the_others(bucket: str, tmp_path: Path) -> None:
    checkpoints = Checkpointer(f"{bucket}/run/checkpoints", 3)
    save(checkpoints, 1, 2)
    there = tmp_path / "bucket" / "bucket" / "run"
    file = max((there / "checkpoints" / "2" / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    file.write_bytes(b"")
    restored = checkpoints.restore(make_state(0), make_iterator())
    checkpoints.close()
    assert restored is not None
    assert_holds(*restored)
    assert (restored[1], checkpoints.steps()) == (1, [1])
    assert file.name in {path.name for path in (there / DAMAGED / "2").rglob("*")}
    checkpoints.delete_after(0)
    assert checkpoints.steps() == []


def test_training_plot_and_guard_record_lie_in_the_bucket(bucket: str) -> None:
    folder = epath.Path(bucket)
    (folder / "metrics.jsonl").write_text('{"step": 1, "kimg": 0.1, "metric/pixel_fd": 2.0}\n')
    made = write_training_plot(folder, "metric/pixel_fd", {})
    assert made is not None
    assert made.read_bytes().startswith(b"\x89PNG")
    for number in range(2):
        CollapseRecord(folder).add(action="log", step=number)
    assert [line["step"] for line in CollapseRecord(folder).lines()] == [0, 1]


def test_growing_file_in_a_bucket_is_written_when_it_is_flushed(bucket: str) -> None:
    path = epath.Path(f"{bucket}/lines")
    file = GrowingFile(path, ["one"])
    for line in ("two", "three"):
        file.append(line)
    assert path.read_text() == "one\n"
    file.flush()
    assert path.read_text() == "one\ntwo\nthree\n"
    file.append("four")
    file.close()
    assert path.read_text().splitlines()[-1] == "four"
    assert FakeBucket.writes == {"bucket/lines": 3}


def test_line_is_appended_to_an_object_by_writing_it_anew(bucket: str) -> None:
    path = epath.Path(f"{bucket}/starts.jsonl")
    for number in range(3):
        append_line(path, json.dumps(number))
    assert path.read_text() == "0\n1\n2\n"


def test_paths_of_buckets_are_told_from_those_of_disks() -> None:
    assert is_remote("gs://bucket/run")
    assert is_remote(epath.Path("gs://bucket/run") / "checkpoints")
    assert not is_remote("/disk/run")
    assert not is_remote("run")
