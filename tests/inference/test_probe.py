"""Linear probes on codes whose keypoints are known functions of them."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from inr_gan_jax.inference.keypoints import Keypoints
from inr_gan_jax.inference.probe import Probe, ProbeSettings, principal_components, run_probe
from tests.closeness import assert_close

COUNT = 300
SETTINGS = ProbeSettings(num_resamples=200)
GROUPS = {"linear": (0, 1), "noise": (2, 3), "axis": (4, 5)}


def codes(num_features: int) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (COUNT, num_features)).astype(np.float32)


def keypoints(code: np.ndarray) -> Keypoints:
    """A linear point with a quarter of noise in its variance, a random point, and a linear angle."""
    rng = np.random.default_rng(1)
    signal = code[:, :4] @ rng.normal(0, 0.1, (4, 2))
    noise = rng.normal(0, signal.std(axis=0) / np.sqrt(3), signal.shape)
    angle = 0.2 * (code[:, :1] - 3)
    values = [signal + noise, rng.uniform(0, 1, (COUNT, 2)), np.cos(2 * angle), np.sin(2 * angle)]
    return Keypoints(np.concatenate(values, axis=1), GROUPS)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return run_probe([codes(20)], keypoints(codes(20)), SETTINGS)


def test_linear_keypoints_are_found_up_to_their_noise(probe: Probe) -> None:
    # Noise of a third of the signal's variance leaves 0.75.
    assert 0.65 < probe.true.r2["linear"].value < 0.8
    assert probe.true.r2["linear"].low > 0.55


@pytest.mark.parametrize("group", [*GROUPS, "all"])
def test_shuffled_keypoints_are_not_found(probe: Probe, group: str) -> None:
    assert abs(probe.shuffled.r2[group].value) < 0.05


def test_random_keypoints_are_not_found(probe: Probe) -> None:
    assert abs(probe.true.r2["noise"].value) < 0.05


def test_all_is_the_mean_over_the_groups(probe: Probe) -> None:
    assert probe.true.r2["all"].value == pytest.approx(np.mean([probe.true.r2[group].value for group in GROUPS]))


def test_interval_holds_the_value(probe: Probe) -> None:
    for scores in (probe.true.r2, probe.true.error, probe.shuffled.r2):
        assert all(score.low < score.value < score.high for score in scores.values())


def test_scores_are_those_of_the_predictions(probe: Probe) -> None:
    true = keypoints(codes(20)).values
    missed, spread = (true - probe.predicted)[:, :2], (true - true.mean(axis=0))[:, :2]
    assert probe.true.r2["linear"].value == pytest.approx(1 - np.sum(missed**2) / np.sum(spread**2))
    assert probe.true.error["linear"].value == pytest.approx(np.hypot(*missed.T).mean())
    angles = [np.degrees(np.arctan2(values[:, 5], values[:, 4]) / 2) for values in (true, probe.predicted)]
    turns = np.abs(angles[0] - angles[1])
    assert probe.true.error["axis"].value == pytest.approx(np.minimum(turns, 180 - turns).mean() / 90)


def test_prediction_of_an_image_does_not_see_its_keypoints() -> None:
    code, places = codes(20), keypoints(codes(20))
    changed = places.values.copy()
    changed[7] = 50.0
    first, second = (
        run_probe([code], Keypoints(values, GROUPS), SETTINGS).predicted for values in (places.values, changed)
    )
    np.testing.assert_allclose(second[7], first[7], rtol=1e-9)


@pytest.mark.parametrize("num_features", [20, 500])
def test_components_give_the_ridge_of_the_standardised_codes(num_features: int) -> None:
    code, places = codes(num_features), keypoints(codes(num_features))
    standard = (code.astype(np.float64) - code.mean(axis=0)) / code.std(axis=0) / np.sqrt(num_features)
    components = principal_components([code[:, :7], code[:, 7:].reshape(COUNT, -1, 1)])
    expected = Ridge(0.3).fit(standard, places.values).predict(standard)
    found = Ridge(0.3).fit(components, places.values).predict(components)
    # The components of codes in float32 are float32.
    assert_close(found.astype(np.float32), expected)


def test_numbers_that_do_not_vary_are_left_out() -> None:
    code = codes(3)
    assert principal_components([code, np.full((COUNT, 4), 7, np.float32)]).shape == (COUNT, 3)
