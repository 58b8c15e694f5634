"""Metrics of checkpoints, from run folder or official pickle to a line of metrics.jsonl."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import evaluate
from inr_gan_jax.checkpoint.manager import save_entries
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.errors import UserError
from inr_gan_jax.evaluate import Request
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.metrics import path_measure
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.path_measure import PathMeasure
from inr_gan_jax.metrics.protocols import parse_protocol
from inr_gan_jax.metrics.settings import MetricResult, MetricSettings
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.sampling import Sampler, Truncation
from inr_gan_jax.training.evaluation import Evaluation
from tests.conftest import small_release_config, tiny_config
from tests.golden.official_pickles import official_pickle
from tests.golden.records import load
from tests.inference.tools import random_generator, write_run

NAMES = ("frechet_digits40_full", "kernel_digits40_full")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, digits_root: Path) -> Path:
    """A run of an untrained generator."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(data={"data_dir": str(digits_root), "num_classes": 10})
    (folder / "config.json").write_text(config.to_json())
    generator = build_generator(config)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(generator.init, jax.random.key(0))["params"]
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    entries = {"ema_params": params, "constants": {}, "w_avg": jnp.zeros(generator.w_dim)}
    save_entries(folder / "checkpoints", 100, entries)
    return folder


def request(run_folder: Path, cache: Path, **changes: object) -> Request:
    settings = MetricSettings(num_devices=1, cache_dir=cache)
    return dataclasses.replace(Request(run_folder, NAMES, settings, batch_size=12), **changes)


@pytest.fixture(scope="module")
def evaluated(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, MetricResult], list[dict]]:
    """Results of one device, and the lines that were appended to a file of one line."""
    folder = tmp_path_factory.mktemp("evaluated")
    output = folder / "lines.jsonl"
    output.write_text('{"step": 1}\n')
    results = list(evaluate.evaluate(request(run_folder, folder, output=output)))
    lines = [json.loads(text) for text in output.read_text().splitlines()]
    return {result.protocol.name: result for result in results}, lines


def test_results_are_appended_with_their_records(evaluated: tuple[dict[str, MetricResult], list[dict]]) -> None:
    results, (before, *lines) = evaluated
    assert before == {"step": 1}
    assert results.keys() == set(NAMES)
    values = {name: value for line in lines for name, value in line.items() if name.startswith("evaluation/")}
    assert values == {f"evaluation/{name}": v for result in results.values() for name, v in result.values.items()}
    assert {(line["step"], line["kimg"]) for line in lines} == {(100, 0.8)}
    # Of 40 generated images, where the protocol says 1,000.
    assert {line["record"]["protocol"].get("subset_size") for line in lines} == {None, 40}
    record = lines[0]["record"]
    assert record["truncation_psi"] == 1
    assert record["real"]["count"] == 1797


@pytest.mark.parametrize("num_devices", [1, 8])
def test_metrics_are_those_of_training(
    num_devices: int, digits_set: Dataset, digits_root: Path, tmp_path: Path
) -> None:
    """Of a conditional network with noise; what is not said is as in the run."""
    data = {"data_dir": str(digits_root), "num_classes": 10}
    evaluation = {"num_samples": 40, "batch_size": 16, "cache_dir": str(tmp_path / "cache")}
    run = write_run(tmp_path / "run", small_release_config(data=data, evaluation=evaluation), 1.0)
    loaded = load_generator(run)
    assert loaded.config is not None
    assert loaded.generator.uses_noise
    names = ("pixel_fd", "frechet_digits40_full")
    settings = MetricSettings(num_devices=num_devices, cache_dir=tmp_path / "cache")
    for result in evaluate.evaluate(Request(run, names, settings)):
        section = dataclasses.replace(loaded.config.evaluation, metric=result.protocol.name)
        training = Evaluation(dataclasses.replace(loaded.config, evaluation=section), digits_set, num_devices)
        assert training(loaded.variables) == {f"metric/{name}": value for name, value in result.values.items()}
        assert training.floors == result.floors
        one = Evaluation(dataclasses.replace(loaded.config, evaluation=section), digits_set, 1)(loaded.variables)
        # Rounding of float32 images, some hundred operations each, moves distances of float64 statistics that little.
        assert result.value == pytest.approx(one[training.name], rel=1e-4)


def test_pixel_fd_has_as_many_images_as_the_run_says(run_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "lines.jsonl"
    truncation = Truncation(0.5)
    (result,) = evaluate.evaluate(
        request(run_folder, tmp_path, metrics=("pixel_fd",), output=output, truncation=truncation)
    )
    assert result.floors["halves"] > 0
    (line,) = map(json.loads, output.read_text().splitlines())
    assert line["evaluation/pixel_fd_psi0.5"] == result.value
    assert line["record"]["protocol"]["num_generated"] == 64


def test_path_length_of_a_conditional_network_with_noise_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_measure.lpips, "load_lpips", lambda *paths: ({}, {}))
    monkeypatch.setattr(
        path_measure.lpips, "lpips", lambda name, params, first, second: jnp.mean(first - second, axis=(1, 2, 3)) ** 2
    )
    loaded = random_generator(small_release_config(data={"num_classes": 3}), 1.0)
    devices = batch_devices(2)
    sampler = Sampler(loaded.generator, loaded.variables, mesh=devices.mesh, real_labels=np.array([0, 2]))
    paths = evaluate.generated_by(sampler, 1.0).paths
    path = parse_protocol("ppl2_wend").path
    assert paths is not None
    assert path is not None
    measure = PathMeasure(MetricSettings(weights={"vgg16": "a", "lpips_vgg_heads": "b"}, batch_size=3))
    assert measure(path, 3, paths, 0, devices) > 0


def test_untrained_generator_is_farther_than_real_images(
    evaluated: tuple[dict[str, MetricResult], list[dict]],
) -> None:
    result = evaluated[0][NAMES[0]]
    assert result.value > 2 * result.floors["resampled"] > 0


def test_report_puts_floors_beside_a_distance(evaluated: tuple[dict[str, MetricResult], list[dict]]) -> None:
    result = evaluated[0][NAMES[0]]
    (line,) = evaluate.report_lines(result)
    assert f"{result.value:.6f}" in line
    assert f"{result.floors['halves']:.6f} halves" in line


def test_truncation_is_part_of_the_name(
    run_folder: Path, evaluated: tuple[dict[str, MetricResult], list[dict]]
) -> None:
    result = evaluated[0][NAMES[0]]
    truncated = dataclasses.replace(result, record={**result.record, "truncation_psi": 0.5})
    line = evaluate.jsonl_line(truncated, load_generator(run_folder))
    assert line["evaluation/frechet_digits40_full_psi0.5"] == result.value


def test_default_output_lies_in_the_run_or_beside_the_pickle(run_folder: Path, tmp_path: Path) -> None:
    pickle = tmp_path / "churches.pkl"
    pickle.write_bytes(b"")
    assert evaluate.output_path(run_folder) == run_folder / "metrics.jsonl"
    assert evaluate.output_path(pickle) == tmp_path / "churches.metrics.jsonl"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metrics": ["fid50k"]}, "metric 'fid50k' is unknown; nearest: "),
        ({"metrics": ["fid50k_full"]}, "give --inception_weights or "),
        ({"checkpoint": Path("nowhere")}, "nowhere does not exist, expected a run folder"),
        ({"data": {"name": "absent"}}, "data set 'absent' is not prepared"),
        ({"output": Path("/absent/lines.jsonl")}, "/absent/lines.jsonl cannot be written (no folder /absent)"),
    ],
)
def test_mistake_is_one_sentence(
    run_folder: Path, tmp_path: Path, changes: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INR_GAN_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(UserError) as caught:
        list(evaluate.evaluate(request(run_folder, tmp_path, **changes)))
    assert str(caught.value).startswith(sentence)


def test_command_ends_in_one_sentence(run_folder: Path) -> None:
    command = [sys.executable, "-m", "inr_gan_jax.evaluate", f"--checkpoint={run_folder}", "--metrics=fid50k_full"]
    environment = {key: value for key, value in os.environ.items() if key != "INR_GAN_INCEPTION_WEIGHTS"}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: give --inception_weights or $INR_GAN_INCEPTION_WEIGHTS: one of pt_inception")
    assert done.stderr.count("\n") == 1


def test_official_pickle_is_loaded_with_its_averaged_generator() -> None:
    loaded = load_generator(official_pickle("tiny-inr-gan-32"))
    np.testing.assert_array_equal(loaded.w_avg, load("tiny-inr-gan-32")["G/mapping.w_avg"])
    assert loaded.generator.size == (32, 32)
    assert loaded.config.data.name == "tiny-inr-gan-32"
