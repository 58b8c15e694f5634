"""Similarity of pictures against definitions written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.metrics.image_similarity import psnr, ssim


def pictures(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures, and the same with noise, another contrast and another brightness."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 7.0
    first = 0.5 + 0.3 * np.sin(x + 2 * y)[None, ..., None] * rng.uniform(0.5, 1, (2, 1, 1, 3))
    second = np.clip(0.8 * first + 0.05 + rng.normal(0, 0.05, first.shape), 0, 1)
    return first, second


def ssim_of_one(first: np.ndarray, second: np.ndarray, size: int) -> float:
    """Wang et al. 2004, eq. 13, window by window."""
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for channel in range(first.shape[2]):
        for top in range(first.shape[0] - size + 1):
            for left in range(first.shape[1] - size + 1):
                x, y = (image[top : top + size, left : left + size, channel] for image in (first, second))
                mean_x, mean_y = (window * x).sum(), (window * y).sum()
                variances = (window * ((x - mean_x) ** 2 + (y - mean_y) ** 2)).sum()
                covariance = (window * (x - mean_x) * (y - mean_y)).sum()
                luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
                values.append(luminance * (2 * covariance + 9e-4) / (variances + 9e-4))
    return float(np.mean(values))


@pytest.mark.parametrize(("height", "width", "size"), [(14, 17, 11), (8, 8, 7), (9, 20, 9)])
@pytest.mark.usefixtures("x64")
def test_ssim_is_that_of_the_paper(height: int, width: int, size: int) -> None:
    first, second = pictures(height, width)
    expected = [ssim_of_one(a, b, size) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(ssim(jnp.asarray(first), jnp.asarray(second)), expected, rtol=1e-10)


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    first = jnp.asarray(pictures(12, 12)[0], jnp.float32)
    np.testing.assert_allclose(ssim(first, first), 1, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_psnr_is_that_of_the_mean_squared_difference() -> None:
    first, second = pictures(5, 4)
    expected = [10 * np.log10(1 / np.mean((a - b) ** 2)) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(psnr(jnp.asarray(first), jnp.asarray(second)), expected, rtol=1e-12)
