"""Affine sampling against positions and neighbours written out."""

import jax
import numpy as np
import pytest

from inr_gan_jax.augment.geometry import affine_sample
from tests.augment.oracle import bilinear
from tests.closeness import assert_close

pytestmark = pytest.mark.usefixtures("x64")

IMAGES = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
IDENTITY = np.tile([[1.0, 0, 0], [0, 1, 0]], (2, 1, 1))
TURNS = np.array([[[0.9, -1.3, 0.4], [0.7, 0.8, -1.1]], [[-2.0, 0.1, 0.3], [0.2, 1.5, 2.5]]])
# Near enough to the whole numbers that rounding decides on which side of a pixel they fall.
STEPS = IDENTITY + np.array([[[0, 0, 1 + 1e-15], [0, 0, -2]], [[0, 0, -3 - 1e-15], [0, 0, 1]]])


SAMPLE = jax.jit(affine_sample, static_argnums=2)


@pytest.mark.parametrize("transforms", [IDENTITY, TURNS, STEPS], ids=["identity", "turns", "steps"])
def test_samples_equal_the_bilinear_formula(transforms: np.ndarray) -> None:
    expected = [bilinear(image, transform, (7, 6)) for image, transform in zip(IMAGES, transforms, strict=True)]
    assert_close(SAMPLE(IMAGES, transforms, (7, 6)), expected)


def test_pixels_beyond_the_bounds_are_zero() -> None:
    first, last = np.array([[1, 2], [0, 0]]), np.array([[2, 4], [3, 3]])
    expected = IMAGES.copy()
    expected[0, :2], expected[0, :, :1], expected[0, :, 3:], expected[1, 4:] = 0, 0, 0, 0
    np.testing.assert_array_equal(SAMPLE(IMAGES, IDENTITY, (5, 4), first, last), expected)


def test_images_of_one_pixel_a_side_are_refused() -> None:
    with pytest.raises(ValueError, match="images have 1 x 4 pixels, expected at least 2 x 2"):
        SAMPLE(IMAGES[:, :1], IDENTITY, (2, 2))
