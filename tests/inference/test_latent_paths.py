"""Ways between points: exact ends, great circles, closed and smooth."""

from typing import Any

import numpy as np
import pytest

from inr_gan_jax.inference.choices import Space
from inr_gan_jax.inference.latent_paths import LatentPath, along_great_circle, interpolate
from tests.closeness import assert_close

RANDOM = np.random.default_rng(0)
CODES = [RANDOM.standard_normal(6).astype(np.float32) for _ in range(4)]


def point(code: np.ndarray, space: Space) -> Any:
    if space == "z":
        return {"z": code, "c": None}
    return code if space == "w" else {"kernels": code[:4].reshape(2, 2), "rest": (code[4:], None)}


def flat(value: Any) -> np.ndarray:
    if isinstance(value, dict) and "z" in value:
        return value["z"]
    return value if isinstance(value, np.ndarray) else np.concatenate([value["kernels"].ravel(), value["rest"][0]])


@pytest.mark.parametrize("is_smooth", [False, True])
@pytest.mark.parametrize("space", ["z", "w", "image"])
def test_images_lie_on_the_way_exactly(space: Space, is_smooth: bool) -> None:
    route = LatentPath([point(code, space) for code in CODES], space, is_closed=True, is_smooth=is_smooth)
    for segment, code in enumerate(CODES):
        np.testing.assert_array_equal(flat(route.at(segment, 0.0)), code)
        np.testing.assert_array_equal(flat(route.at(segment - 1, 1.0)), code)


def test_slerp_turns_at_a_constant_rate() -> None:
    start, end = np.array([2.0, 0, 0]), np.array([0, 2.0, 0])
    for t in (0.0, 0.25, 0.8, 1.0, 1.5, -0.3):
        expected = 2 * np.array([np.cos(t * np.pi / 2), np.sin(t * np.pi / 2), 0])
        assert_close(along_great_circle(start, end, t), expected)


def test_slerp_of_parallel_codes_is_finite() -> None:
    code = np.array([1.0, 2, 3], np.float32)
    np.testing.assert_allclose(along_great_circle(code, 2 * code, 0.5), 1.5 * code)
    assert np.all(np.isfinite(along_great_circle(code, -code, 0.5)))


def test_weights_are_mixed_straight() -> None:
    middle = flat(interpolate(point(CODES[0], "image"), point(CODES[1], "image"), 0.25, "image"))
    np.testing.assert_allclose(middle, 0.75 * CODES[0] + 0.25 * CODES[1], rtol=1e-6)


def test_closed_way_ends_one_frame_before_its_start() -> None:
    route = LatentPath([point(code, "w") for code in CODES], "w", is_closed=True)
    points = list(route.points(5))
    assert len(points) == 20
    np.testing.assert_allclose(points[-1], 0.2 * CODES[3] + 0.8 * CODES[0], rtol=1e-5)


def test_open_way_ends_at_its_last_image() -> None:
    points = list(LatentPath([point(code, "w") for code in CODES], "w").points(5))
    assert len(points) == 16
    np.testing.assert_array_equal(points[-1], CODES[-1])


@pytest.mark.parametrize("is_smooth", [True, False])
def test_only_a_smooth_way_has_no_corner_at_an_image(is_smooth: bool) -> None:
    route = LatentPath([point(code, "w") for code in CODES], "w", is_closed=True, is_smooth=is_smooth)
    step = 0.01
    arriving = (route.at(0, 1.0) - route.at(0, 1 - step)) / step
    leaving = (route.at(1, step) - route.at(1, 0.0)) / step
    change = np.linalg.norm(leaving - arriving) / np.linalg.norm(arriving)
    assert change < 0.2 if is_smooth else change > 0.8


def test_smooth_straight_way_is_catmull_rom() -> None:
    route = LatentPath([code.astype(np.float64) for code in CODES], "w", is_closed=True, is_smooth=True)
    t = 0.3
    shares = np.array([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
    np.testing.assert_allclose(route.at(1, t), shares @ np.array(CODES, np.float64), rtol=1e-5)
