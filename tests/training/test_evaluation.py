"""The metric that follows a run, by the name of its protocol."""

from pathlib import Path

import jax
import numpy as np
import pytest

from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.images import all_images
from inr_gan_jax.distributed.interruption import RunInterruptedError
from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.pixel_fd import PixelFD
from inr_gan_jax.training.collapse_monitor import CollapseMonitor
from inr_gan_jax.training.evaluation import Evaluation, check_metric
from tests.conftest import tiny_config
from tests.training.test_steps import build


@pytest.mark.parametrize(("metric", "lower"), [("frechet_digits64_full", True), ("pixel_fd", True)])
def test_evaluation_follows_a_run_by_the_name_of_a_protocol(
    metric: str, lower: bool, digits_set: Dataset, tmp_path: Path
) -> None:
    config = tiny_config(
        evaluation={"metric": metric, "num_samples": 64, "batch_size": 32, "cache_dir": str(tmp_path / "cache")}
    )
    evaluation = Evaluation(config, digits_set)
    _, state = build(config)
    values = evaluation(state.ema_variables)
    assert evaluation.name == f"metric/{metric}"
    assert evaluation.lower_is_better == lower
    assert values[evaluation.name] > evaluation.floor_scalars[f"{evaluation.name}_floor_halves"] > 0
    assert evaluation(state.ema_variables) == values  # the same latent codes each time
    assert evaluation.latest == values[evaluation.name]
    assert f"{values[evaluation.name]:.4f}" in evaluation.describe(values[evaluation.name])
    broken = state.replace(ema_params=jax.tree.map(lambda leaf: leaf * float("nan"), state.ema_params))
    with pytest.raises(FloatingPointError):
        evaluation(broken.ema_variables)


def test_evaluation_asks_at_each_batch_whether_to_stop(digits_set: Dataset) -> None:
    config = tiny_config(evaluation={"metric": "pixel_fd", "num_samples": 64, "batch_size": 32})
    asked: list[int] = []

    def check() -> None:
        asked.append(len(asked))
        if len(asked) == 4:
            raise RunInterruptedError

    evaluation = Evaluation(config, digits_set, check=check)
    _, state = build(config)
    evaluation(state.ema_variables)
    assert asked == [0, 1]
    with pytest.raises(RunInterruptedError):
        evaluation(state.ema_variables)


def test_pixels_darker_than_black_count_as_black_in_bytes(digits_set: Dataset) -> None:
    real = all_images(digits_set, tiny_config().data)
    drawn = real[:64]
    metric = PixelFD(real, 64)
    too_far = np.where(drawn == -1, -3.0, drawn)
    exact, stored = metric([too_far])
    assert stored == pytest.approx(metric([drawn])[0])
    assert exact > 2 * stored


def test_path_length_cannot_follow_a_run() -> None:
    with pytest.raises(UserError, match="'ppl2_wend' cannot follow a run"):
        check_metric(tiny_config(evaluation={"metric": "ppl2_wend"}).evaluation)


def test_metric_that_is_no_protocol_is_refused() -> None:
    with pytest.raises(UserError, match="'fid50' is unknown"):
        check_metric(tiny_config(evaluation={"metric": "fid50"}).evaluation)


def test_guard_does_not_take_a_measure_of_which_more_is_better_for_a_rise() -> None:
    watch = CollapseMonitor(tiny_config(), None, 0)
    # Precision, negated: 0.8, then 0.1.
    assert watch.check_metric_value(1, -0.8) is None
    assert watch.check_metric_value(2, -0.1) is None
