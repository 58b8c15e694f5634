"""Ticks of the log in whose middle a run is stopped."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.training.progress import ScalarLog
from inr_gan_jax.training.unfinished_ticks import UNFINISHED_TICKS_FILE, UnfinishedTicks


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
