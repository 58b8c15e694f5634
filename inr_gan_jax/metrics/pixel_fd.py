"""pixel_fd: Frechet distance of raw pixels, for pictures small enough that their pixels are features."""

import dataclasses
from collections.abc import Callable

import numpy as np

from inr_gan_jax.metrics.feature_stats import FeatureStats
from inr_gan_jax.metrics.frechet import frechet_distance

# The floors are a property of the real set, so their draws do not follow the seed of a run.
_FLOOR_SEED = 0
_NUM_FLOOR_DRAWS = 5

SampleImages = Callable[[int], np.ndarray]


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Flattens images [count, height, width, channels], in [-1, 1], to [count, pixels] in [0, 1], float64."""
    return (np.asarray(images, np.float64).reshape(len(images), -1) + 1) / 2


@dataclasses.dataclass(frozen=True)
class PixelFloors:
    """What the distance is between real images and real images; means over five fixed draws.

    Attributes:
        resampled: `num_samples` images drawn with replacement, against the whole set.
        halves: one random half against the other.
    """

    resampled: float
    halves: float


class PixelFD:
    """Distance of generated images to a real set, by the pixels themselves.

    Args:
        real_images: [count, height, width, channels], in [-1, 1]; the whole set is used.
        num_samples: generated images to compare.
    """

    def __init__(self, real_images: np.ndarray, num_samples: int) -> None:
        self._features = pixel_features(real_images)
        self._stats = FeatureStats.of(self._features)
        self.num_samples = num_samples

    def describe(self, value: float) -> str:
        """One sentence that puts a value beside its floors."""
        floors, count = self.floors(), self.num_samples
        return (
            f"pixel Fréchet distance {value:.4f} ({count} generated images against all real ones, in [0, 1]); floors: "
            f"{floors.resampled:.4f} for {count} real images drawn with replacement, {floors.halves:.4f} between two "
            "random halves of the real images"
        )

    def __call__(self, sample_images: SampleImages) -> float:
        """Computes the distance of `sample_images(num_samples)`, images in [-1, 1], to the real set."""
        return frechet_distance(FeatureStats.of(pixel_features(sample_images(self.num_samples))), self._stats)

    def floors(self) -> PixelFloors:
        """Computes how near to each other real images are by the same measure."""
        rng = np.random.default_rng(_FLOOR_SEED)
        count, resampled, halves = len(self._features), [], []
        for _ in range(_NUM_FLOOR_DRAWS):
            drawn = self._features[rng.integers(0, count, self.num_samples)]
            resampled.append(frechet_distance(FeatureStats.of(drawn), self._stats))
            order = self._features[rng.permutation(count)]
            first, second = FeatureStats.of(order[: count // 2]), FeatureStats.of(order[count // 2 :])
            halves.append(frechet_distance(first, second))
        return PixelFloors(float(np.mean(resampled)), float(np.mean(halves)))
