"""What a run shows: the line of its progress, means of unfinished ticks, and the summary at its end."""

import dataclasses
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from inr_gan_jax.training.progress import UNFINISHED_TICKS_FILE, Progress, ScalarLog, UnfinishedTicks, final_summary
from tests.conftest import tiny_config
from tests.test_command_line import COMMANDS


def test_line_says_of_what_images_an_older_metric_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tiny_config(training={"batch_size": 8, "total_kimg": 2.0}), first_step=0)
    progress.update(125, {"metric/pixel_fd": 7.5, "metric/pixel_fd_bytes": 5.0})
    progress.update(250, {"loss/g": 1.0})
    progress.update(250, {"metric/pixel_fd": 2.5})
    old, new = capsys.readouterr().out.splitlines()
    assert "pixel_fd 7.500 (at 1.0), pixel_fd_bytes 5.000 (at 1.0)" in old
    assert "pixel_fd 2.500, pixel_fd_bytes 5.000 (at 1.0)" in new


def test_means_of_a_tick_in_two_halves_are_those_of_the_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 1, 10).astype(np.float32)
    whole, first = ScalarLog({"generator": 2}), ScalarLog({"generator": 2})
    for step, value in enumerate(values):
        for log in (whole, first) if step < 7 else (whole,):
            log.add(step, {"generator": {"loss": jnp.asarray(value)}})
    UnfinishedTicks(tmp_path).write(7, first.kept())
    second = ScalarLog({"generator": 2}, UnfinishedTicks(tmp_path).read(7))
    for step in range(7, 10):
        second.add(step, {"generator": {"loss": jnp.asarray(values[step])}})
    assert second.means() == whole.means()


def test_nothing_is_written_between_two_ticks(tmp_path: Path) -> None:
    UnfinishedTicks(tmp_path).write(10, {})
    assert list(tmp_path.iterdir()) == []


def test_what_was_noted_of_later_steps_is_forgotten(tmp_path: Path) -> None:
    ticks = UnfinishedTicks(tmp_path)
    for step in (7, 17, 12):
        ticks.write(step, {"loss": [np.float32(step)]})
    assert [len(ticks.read(step)) for step in (7, 12, 17)] == [1, 1, 0]
    ticks.write(10, {})
    assert [len(ticks.read(step)) for step in (7, 12)] == [1, 0]


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED_TICKS_FILE).write_text('{"7": {"los')
    assert UnfinishedTicks(tmp_path).read(7) == {}
    UnfinishedTicks(tmp_path).write(8, {"loss": [np.float32(1)]})
    assert UnfinishedTicks(tmp_path).read(8) == {"loss": [np.float32(1)]}


@pytest.mark.parametrize(
    ("folder", "shown"),
    [("runs/digits", "--workdir=runs/digits"), ("my run", "--workdir='my run'"), ("gs://mine/run", "--workdir=COPY")],
)
def test_files_and_next_commands_are_named(folder: str, shown: str) -> None:
    text = final_summary(epath.Path(folder), tiny_config(), 80.0)
    for part in ("80.0 kimg", folder, "samples/", "metrics.jsonl", "checkpoints/", shown):
        assert part in text
    commands = re.findall(r"python -m (\S+)", text)
    assert len(commands) == 2
    assert set(commands) <= set(COMMANDS)


def test_metric_is_only_recommended_where_it_fits() -> None:
    config = tiny_config()
    large = dataclasses.replace(config, data=dataclasses.replace(config.data, height=128, width=128))
    assert "pixel_fd" in final_summary(epath.Path("a"), config, 1.0)
    assert "pixel_fd" not in final_summary(epath.Path("a"), large, 1.0)
    measured = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, metric="pixel_fd"))
    assert "evaluate" not in final_summary(epath.Path("a"), measured, 1.0)
