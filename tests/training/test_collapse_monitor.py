"""The guard: what it notices, what it leaves alone, and a run that collapses, goes back and ends well."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from inr_gan_jax.config.schema import Config
from inr_gan_jax.training import loop, run_parts
from inr_gan_jax.training.collapse_monitor import CollapseMonitor, CollapseRecord
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.steps import TrainStep
from tests.conftest import tiny_config

HEALTHY = {"loss/generator": 0.7, "logits/sign_real": 0.4, "images/contrast": 0.9, "not_finite/generator": 0.0}


def guard(first_step: int = 0, best: tuple[float, int] | None = None, **keys: Any) -> CollapseMonitor:
    settings = {"warmup_kimg": 0.0, "num_ticks": 2, "max_sign": 0.99, "min_contrast": 0.05, "metric_factor": 3.0}
    return CollapseMonitor(tiny_config(guard={**settings, **keys}), best, first_step)


def test_guard_leaves_healthy_numbers_alone() -> None:
    watch = guard()
    assert all(watch.check_tick(step, HEALTHY) is None for step in range(1, 50))
    assert all(watch.check_metric_value(step, value) is None for step, value in enumerate((9.0, 5.0, 14.0, 4.0, 11.9)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_guard_notices_a_loss_that_is_not_finite_at_once(value: float) -> None:
    watch = guard()
    watch.check_tick(10, HEALTHY)
    alarm = watch.check_tick(20, {**HEALTHY, "loss/generator": value})
    assert alarm is not None
    assert alarm.is_fatal
    assert alarm.last_good_step == 10
    assert "loss/generator became" in alarm.reason


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("logits/sign_real", 1.0, "the discriminator has won"),
        ("images/contrast", 0.01, "are all alike"),
        ("not_finite/generator", 2.0, "were not finite"),
    ],
)
def test_guard_notices_bad_numbers_only_several_times_in_a_row(name: str, value: float, words: str) -> None:
    watch, bad = guard(), {**HEALTHY, name: value}
    assert watch.check_tick(10, bad) is None
    assert watch.check_tick(20, HEALTHY) is None
    assert watch.check_tick(30, bad) is None
    alarm = watch.check_tick(40, bad)
    assert alarm is not None
    assert words in alarm.reason
    assert (alarm.is_fatal, alarm.last_good_step) == (False, 20)


def test_guard_is_lenient_while_the_run_warms_up() -> None:
    watch, bad = guard(warmup_kimg=0.4), {**HEALTHY, "images/contrast": 0.0}
    assert all(watch.check_tick(step, bad) is None for step in range(1, 50))  # 8 images a step
    assert [watch.check_tick(step, bad) is None for step in (50, 51)] == [True, False]


def test_guard_goes_back_to_where_the_metric_was_best() -> None:
    watch = guard(first_step=70, best=(4.0, 60))
    assert watch.check_metric_value(80, 12.0) is None
    alarm = watch.check_metric_value(90, 12.1)
    assert alarm is not None
    assert alarm.last_good_step == 60
    assert watch.is_best(4.0)
    assert not watch.is_best(4.1)


def test_guard_does_not_read_the_sign_of_a_discriminator_that_compares() -> None:
    config = tiny_config(guard={"num_ticks": 1}, loss={"adversarial": "relativistic"})
    assert CollapseMonitor(config, None, 0).check_tick(10, {**HEALTHY, "logits/sign_real": 1.0}) is None


def test_guard_record_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    record = CollapseRecord(tmp_path)
    record.add(action="roll_back", step=3, to_step=1)
    with (tmp_path / "guard.jsonl").open("a") as file:
        file.write('{"action": "roll')
    assert [line["to_step"] for line in record.rollbacks()] == [1]


@dataclasses.dataclass(frozen=True)
class WildStep(TrainStep):
    """For 50 steps the discriminator moves a hundred times as far as it should, until the run has gone back once."""

    def __call__(self, state: Any, batch: Any, features: Any = None, z: Any = None) -> Any:
        after, scalars = super().__call__(state, batch, features, z)
        is_wild = (state.step >= 150) & (state.step < 200) & (state.num_rollbacks == 0)
        factor = jnp.where(is_wild, 100.0, 1.0)
        params = jax.tree.map(
            lambda old, new: old + factor * (new - old), state.discriminator_params, after.discriminator_params
        )
        return after.replace(discriminator_params=params), scalars


def collapsing_config(data_root: Path, **guard: Any) -> Config:
    return tiny_config(
        data={"data_dir": str(data_root)},
        optimizer={"decay_kimg": 0.0},
        training={
            "total_kimg": 3.2,
            "log_kimg": 0.08,
            "sample_kimg": 0.0,
            "evaluate_kimg": 0.4,
            "checkpoint_kimg": 0.4,
        },
        evaluation={"metric": "pixel_fd", "num_samples": 512, "batch_size": 128},
        guard={"warmup_kimg": 0.4, "metric_factor": 2.0, **guard},
    )


@pytest.mark.slow
def test_collapsed_run_goes_back_and_ends_with_a_good_metric(
    tmp_path: Path, digits_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run_parts, "TrainStep", WildStep)
    config = dataclasses.replace(collapsing_config(digits_root), num_devices=1)
    state = loop.train(config, tmp_path / "run")
    (line,) = CollapseRecord(tmp_path / "run").lines()
    assert line["action"] == "roll_back"
    assert line["to_step"] <= 150 < line["step"]
    assert int(state.num_rollbacks) == 1
    assert int(state.step) == 400
    metrics = [entry["metric/pixel_fd"] for entry in read_metrics(tmp_path / "run") if "metric/pixel_fd" in entry]
    steps = [entry["step"] for entry in read_metrics(tmp_path / "run")]
    assert steps == sorted(steps)
    assert metrics[-1] < 2 * min(metrics)
    assert "rolling back to" in capsys.readouterr().out
