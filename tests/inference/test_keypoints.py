"""Landmarks of shapes whose landmarks are known."""

import numpy as np
import pytest

from inr_gan_jax.inference.keypoints import Keypoints, built_in_landmarks, foreground_masks, otsu_threshold


def bar(angle: float, centre: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """A bright bar of 0.6 x 0.1 of the picture: [64, 64, 1], uint8; the angle goes from the x to the y axis."""
    y, x = (np.mgrid[:64, :64] + 0.5) / 64
    along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    across = -(x - centre[0]) * np.sin(angle) + (y - centre[1]) * np.cos(angle)
    inside = (abs(along) < 0.3) & (abs(across) < 0.05)
    return np.where(inside, 220, 30).astype(np.uint8)[..., None]


def of(keypoints: Keypoints, group: str) -> np.ndarray:
    return keypoints.values[:, list(keypoints.groups[group])]


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_axis_is_that_of_a_bar(degrees: int) -> None:
    angle = np.radians(degrees)
    found = of(built_in_landmarks(bar(angle)[None]), "axis")[0]
    np.testing.assert_allclose(found, [np.cos(2 * angle), np.sin(2 * angle)], atol=0.02)


def test_centroid_is_that_of_a_bar() -> None:
    found = of(built_in_landmarks(bar(0.3, centre=(0.4, 0.6))[None]), "centroid")[0]
    np.testing.assert_allclose(found, [0.4, 0.6], atol=0.005)


def test_ends_are_those_of_a_bar() -> None:
    keypoints = built_in_landmarks(bar(np.pi / 4)[None])
    reach = 0.3 / np.sqrt(2)
    # The corner of the bar that lies farthest is 0.05 beside its axis.
    farther, nearer = reach + 0.05 / np.sqrt(2), reach - 0.05 / np.sqrt(2)
    np.testing.assert_allclose(of(keypoints, "bottom")[0], [0.5 + nearer, 0.5 + farther], atol=0.02)
    np.testing.assert_allclose(of(keypoints, "top")[0], [0.5 - nearer, 0.5 - farther], atol=0.02)
    np.testing.assert_allclose(of(keypoints, "right")[0], [0.5 + farther, 0.5 + nearer], atol=0.02)
    np.testing.assert_allclose(of(keypoints, "left")[0], [0.5 - farther, 0.5 - nearer], atol=0.02)


def test_landmarks_are_measured_in_shares_of_the_picture() -> None:
    image = np.zeros((1, 10, 20, 3), np.uint8)
    image[0, 2, 15] = 255
    np.testing.assert_allclose(of(built_in_landmarks(image), "centroid")[0], [15.5 / 20, 2.5 / 10])


def test_dark_foreground_is_the_rest_of_the_bright_one() -> None:
    image = bar(0.2)[None]
    np.testing.assert_array_equal(foreground_masks(image, "dark"), ~foreground_masks(image, "bright"))


def test_threshold_splits_two_heaps_of_levels() -> None:
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.normal(60, 8, 300), rng.normal(180, 8, 100)]).reshape(20, 20).clip(0, 255)
    levels = np.sort(np.rint(image).ravel())
    # The definition: the split with the least variance within the classes.
    costs = [
        levels[levels <= t].var() * (levels <= t).sum() + levels[levels > t].var() * (levels > t).sum()
        for t in range(int(levels[0]), int(levels[-1]))
    ]
    assert otsu_threshold(image) == levels[0] + np.argmin(costs)


@pytest.mark.parametrize("foreground", ["bright", "dark"])
def test_picture_of_one_colour_has_no_landmarks(foreground: str) -> None:
    images = np.concatenate([np.full((1, 64, 64, 1), 77, np.uint8), bar(0.0)[None]])
    np.testing.assert_array_equal(built_in_landmarks(images, foreground).is_known, [False, True])
