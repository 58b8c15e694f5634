"""Metrics by name, from callables and real images."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics import path_measure, registry
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.path_measure import PathMeasure
from inr_gan_jax.metrics.ppl import PathGenerator
from inr_gan_jax.metrics.protocols import parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.registry import MetricSuite
from inr_gan_jax.metrics.run_metric import RunMetric
from inr_gan_jax.metrics.settings import Generated, MetricResult, MetricSettings
from tests.metrics.tiny_network import random_images, tiny_network

NAMES = ("fsd1k_full", "ksd1k_full", "pr_squeezenet1k3_full")
COUNT = 1000


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every feature network is the tiny one."""
    monkeypatch.setattr(registry, "load_feature_network", lambda name, weights: tiny_network())


def real() -> RealImages:
    return RealImages.of_array("random", random_images(300))


def replaying(images: np.ndarray, calls: list[int] | None = None) -> Generated:
    """A generator that returns the given images in order, over and over."""
    place = 0

    def sample_images(key: jax.Array, count: int) -> jax.Array:
        nonlocal place
        chosen = np.arange(place, place + count) % len(images)
        place += count
        if calls is not None:
            calls.append(count)
        return jnp.asarray(images[chosen].astype(np.float32) / 127.5 - 1)

    return Generated(sample_images, record={"truncation_psi": 1.0})


@functools.cache
def computed() -> tuple[Mapping[str, MetricResult], list[int]]:
    calls: list[int] = []
    suite = MetricSuite([parse_protocol(name) for name in NAMES], real(), MetricSettings(batch_size=64))
    results = suite(replaying(random_images(300, seed=1), calls), seed=5)
    assert tuple(result.protocol.name for result in results) == NAMES
    return {result.protocol.name: result for result in results}, calls


def test_metrics_of_one_network_share_one_pass(tiny_networks: None) -> None:
    _, calls = computed()
    assert calls == [64] * 16


def test_values_have_their_names(tiny_networks: None) -> None:
    results, _ = computed()
    assert list(results["ksd1k_full"].values) == ["ksd1k_full", "ksd1k_full_std"]
    shares = results["pr_squeezenet1k3_full"]
    assert list(shares.values) == ["pr_squeezenet1k3_full_precision", "pr_squeezenet1k3_full_recall"]
    assert 0.5 < shares.value < 1


def test_record_holds_what_a_value_depends_on(tiny_networks: None) -> None:
    record = computed()[0]["fsd1k_full"].record
    assert record["protocol"]["num_generated"] == COUNT
    assert record["protocol"]["ddof"] == 1
    assert (record["seed"], record["batch_size"], record["truncation_psi"]) == (5, 64, 1.0)
    assert record["weights"] == {"tiny": "0" * 64}
    assert record["real"] == {"name": "random", "count": 300, "fingerprint": real().fingerprint}
    assert {"resize", "precision", "quantisation", "seconds_features", "seconds_distance"} <= record.keys()


@pytest.mark.parametrize(("num_generated", "num_real", "used"), [(200, 300, 200), (300, 2, 2)])
def test_record_holds_the_size_of_the_subsets_that_were_used(num_generated: int, num_real: int, used: int) -> None:
    images = RealImages.of_array("random", random_images(num_real))
    suite = MetricSuite([parse_protocol(f"ksd{num_generated}_full")], images, MetricSettings(batch_size=500))
    (result,) = suite(replaying(random_images(300, seed=1)))
    assert result.record["protocol"]["subset_size"] == used
    assert result.record["real"]["count"] == num_real


@pytest.mark.parametrize(("name", "least"), [("fsd50_full", 4), ("ksd50_full", 2), ("pr_squeezenet1k3_full", 4)])
def test_too_few_real_images_are_one_sentence_before_any_work(name: str, least: int) -> None:
    few = RealImages.of_array("few", random_images(least - 1))
    with pytest.raises(UserError, match=f"{name} needs at least {least} real images, few has {least - 1}"):
        MetricSuite([parse_protocol(name)], few, MetricSettings())
    MetricSuite([parse_protocol(name)], RealImages.of_array("enough", random_images(least)), MetricSettings())


def test_distance_of_the_real_set_itself_is_zero() -> None:
    suite = MetricSuite([parse_protocol("fsd300_full")], real(), MetricSettings(batch_size=50))
    (result,) = suite(replaying(random_images(300)))
    # float32 features on both sides, of the same bytes.
    assert result.value == pytest.approx(0, abs=1e-10)


def test_inception_score_needs_no_real_images() -> None:
    (result,) = MetricSuite([parse_protocol("is100")], None, MetricSettings(batch_size=64))(replaying(random_images(9)))
    assert list(result.values) == ["is100_mean", "is100_std"]
    assert 1 <= result.value <= 5


def test_distance_without_real_images_is_one_sentence() -> None:
    with pytest.raises(UserError, match="fsd1k_full needs real images"):
        MetricSuite([parse_protocol("fsd1k_full")], None, MetricSettings())


def test_path_length_without_weights_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INR_GAN_VGG16_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="--vgg16_weights"):
        MetricSuite([parse_protocol("ppl2_wend")], None, MetricSettings())


def test_run_metric_has_the_interface_of_an_evaluation() -> None:
    metric = RunMetric("fsd300_full", real(), MetricSettings(batch_size=50))
    values = metric(replaying(random_images(300, seed=2)).sample_images)
    assert list(values) == [metric.name] == ["metric/fsd300_full"]
    assert metric.latest == values[metric.name] > 0
    assert metric.floors is not None
    assert metric.floor_scalars == {
        "metric/fsd300_full_floor_resampled": metric.floors.resampled,
        "metric/fsd300_full_floor_halves": metric.floors.halves,
    }
    assert f"{metric.floors.halves:.4f} between two random halves" in metric.describe(metric.latest)
    assert metric.is_better(1.0, None)
    assert metric.is_better(1.0, 2.0)
    assert not metric.is_better(2.0, 1.0)


def test_path_length_cannot_follow_a_run() -> None:
    with pytest.raises(UserError, match="'ppl2_wend' cannot follow a run"):
        RunMetric("ppl2_wend", real(), MetricSettings())


def scaled_squares(name: str, params: Any, first: Any, second: Any) -> Any:
    assert (name, first.dtype, params["scale"].dtype) == ("vgg", np.float64, np.float64)
    return params["scale"] * jnp.mean((first - second) ** 2, axis=(1, 2, 3))


def test_path_length_is_the_same_on_any_number_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    # LPIPS itself takes long to compile on eight devices, and has tests of its own.
    monkeypatch.setattr(path_measure.lpips, "load_lpips", lambda *paths: ({"scale": np.float32(2)}, {}))
    monkeypatch.setattr(path_measure.lpips, "lpips", scaled_squares)
    basis = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
    generator = PathGenerator(
        z_dim=4,
        variables={"basis": basis},
        mapping=lambda variables, z, c: z,
        synthesise=lambda variables, w, key: jnp.tanh(jnp.tensordot(w, variables["basis"], 1)),
        sample_labels=lambda key, count: None,
    )
    path = parse_protocol("ppl2_wend").path
    assert path is not None
    weights = {"vgg16": "vgg16.pth", "lpips_vgg_heads": "heads.pth"}
    measure = PathMeasure(MetricSettings(weights=weights, batch_size=5, path_precision="float64"))
    lengths = [measure(path, 7, generator, 0, batch_devices(count)) for count in (1, 8)]
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-8)
    other: Any = measure(path, 7, generator, 1, batch_devices(1))
    assert other != pytest.approx(lengths[0], rel=1e-3)
