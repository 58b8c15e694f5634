"""pixel_fd: Frechet distance of raw pixels, for pictures small enough that their pixels are features."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.frechet import FeatureStats, Moments, covariance_factor
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.progress import Progress

# The covariance of more values per image neither fits in memory nor is well estimated.
MAX_PIXELS = 4096
# 8 GiB in float32.
_MAX_NUMBERS = 2**31
_MIN_IMAGES = 4
_ROWS_AT_ONCE = 4096

# The floors are a property of the real set, so they do not depend on the seed of a run.
_FLOOR_SEED = 0
_NUM_FLOOR_DRAWS = 5


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Flattens images [count, height, width, channels], in [-1, 1], to [count, pixels] in [0, 1], float64."""
    return (np.asarray(images, np.float64).reshape(len(images), -1) + 1) / 2


@dataclasses.dataclass(frozen=True)
class PixelFloors:
    """Distances between sets of real images; means over five fixed resamplings.

    Attributes:
        resampled: `num_samples` images sampled with replacement, against the whole set.
        halves: one random half against the other.
    """

    resampled: float
    halves: float


class PixelFD:
    """Distance of generated images to a real set, by the pixels themselves.

    Costs grow with the third power of the numbers in an image. The real set is factored once; each distance then takes
    the eigenvalues of one symmetric matrix, see `_distance`.

    Args:
        real_images: [count, height, width, channels], in [-1, 1]; the whole set is used.
        num_samples: generated images to compare.

    Raises:
        UserError: for fewer than four real images, or more numbers than are held at once.
    """

    def __init__(self, real_images: np.ndarray, num_samples: int) -> None:
        check_num_pixels(len(real_images), int(np.prod(real_images.shape[1:])))
        self._images = real_images
        self._stats = _moments(real_images).stats()
        self._factor = _factor(self._stats.covariance)
        self.num_samples = num_samples
        self._floors: PixelFloors | None = None

    def __call__(self, batches: Iterable[np.ndarray]) -> tuple[float, float]:
        """Computes the distance of generated images to the real set.

        Args:
            batches: of images [batch, height, width, channels], in [-1, 1].

        Returns:
            The distance of the images as they are, and as other programs see them: clipped and rounded to bytes.
        """
        num_features = int(np.prod(self._images.shape[1:]))
        exact, stored = Moments(num_features), Moments(num_features)
        for images in batches:
            exact.add(pixel_features(images))
            stored.add(to_uint8(images).reshape(len(images), -1) / 255)
        distances = (_distance(moments.stats(), self._stats, self._factor) for moments in (exact, stored))
        return next(distances), next(distances)

    def floors(self) -> PixelFloors:
        """Computes how near to each other real images are by the same measure."""
        if self._floors is None:
            self._floors = self._computed_floors()
        return self._floors

    def _computed_floors(self) -> PixelFloors:
        rng = np.random.default_rng(_FLOOR_SEED)
        count, resampled, halves = len(self._images), [], []
        with Progress("real images against real images", 2 * _NUM_FLOOR_DRAWS, unit="distances") as progress:
            for _ in range(_NUM_FLOOR_DRAWS):
                resample = _moments(self._images, rng.integers(0, count, self.num_samples))
                resampled.append(_distance(resample.stats(), self._stats, self._factor))
                progress.add(1)
                order = rng.permutation(count)
                first, second = (
                    _moments(self._images, half).stats() for half in (order[: count // 2], order[count // 2 :])
                )
                halves.append(_distance(first, second, _factor(second.covariance)))
                progress.add(1)
        return PixelFloors(float(np.mean(resampled)), float(np.mean(halves)))


def check_num_pixels(num_images: int, num_pixels: int) -> None:
    """Checks that a set can be compared by its pixels.

    Raises:
        UserError: one sentence that names an alternative.
    """
    instead = "fsd10k_full, with a file of weights, compares larger ones (docs/metrics.md)"
    if num_pixels > MAX_PIXELS:
        raise UserError(f"pixel_fd takes images of at most {MAX_PIXELS} numbers, these have {num_pixels}; {instead}")
    if num_images < _MIN_IMAGES:
        raise UserError(f"pixel_fd needs at least {_MIN_IMAGES} real images, the set has {num_images}")
    if num_images * num_pixels > _MAX_NUMBERS:
        raise UserError(
            f"pixel_fd holds all real images at once: {num_images:,} of {num_pixels} numbers are "
            f"{num_images * num_pixels:,}, more than {_MAX_NUMBERS:,}; {instead}"
        )


def _moments(images: np.ndarray, rows: np.ndarray | None = None) -> Moments:
    """Moments of the pixels of images, or of some of them; a part at a time in float64."""
    count = len(images) if rows is None else len(rows)
    moments = Moments(int(np.prod(images.shape[1:])))
    for start in range(0, count, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        moments.add(pixel_features(images[part] if rows is None else images[rows[part]]))
    return moments


def _factor(covariance: np.ndarray) -> np.ndarray:
    """L [features, rank] with L L^T = covariance: triangular, or by eigenvectors where it is singular."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return covariance_factor(covariance)


def _distance(first: FeatureStats, second: FeatureStats, factor: np.ndarray) -> float:
    """The Fréchet distance, as `frechet_distance`, with the factor L of the second covariance known.

    The trace of the root of C1 C2 is the sum of the roots of the eigenvalues of L^T C1 L, of which at most count1 - 1
    are not 0. Rounding moves an eigenvalue by up to 2.2e-16 of the largest, and so the root of one near 0 by up to
    1.5e-8 of the largest root: less than features * 1.5e-8 of the traces in all.
    """
    values = np.linalg.eigvalsh(factor.T @ first.covariance @ factor)
    rank = min(len(values), first.count - 1)
    trace_of_root = np.sqrt(np.maximum(values[len(values) - rank :], 0)).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(np.sum(np.square(first.mean - second.mean)) + traces - 2 * trace_of_root)
