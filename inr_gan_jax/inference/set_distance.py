"""Fréchet distances between sets of images, for tools that change images."""

import dataclasses
import functools
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import MEASURES
from inr_gan_jax.metrics.feature_extraction import SampleImages
from inr_gan_jax.metrics.frechet import FeatureStats, frechet_distance
from inr_gan_jax.metrics.pixel_fd import pixel_features
from inr_gan_jax.metrics.protocols import PIXEL_FD, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.registry import MetricSuite
from inr_gan_jax.metrics.settings import Generated, MetricSettings
from inr_gan_jax.ops.image_grid import to_uint8

# Larger images have too many pixels for a covariance.
_MAX_PIXEL_FEATURES = 4096


@dataclasses.dataclass(frozen=True)
class SetDistance:
    """Fréchet distance of sets of images to a reference set.

    Attributes:
        measure: `pixel_fd` of pixels, `fsd` of SqueezeNet features, `fid` of Inception features.
        reference: [count, height, width, channels], in [-1, 1].
        settings: weights of the feature networks.
    """

    measure: str
    reference: np.ndarray
    settings: MetricSettings = dataclasses.field(default_factory=MetricSettings)

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UserError(f"measure {self.measure!r} is unknown, expected one of {', '.join(MEASURES)}")
        num_pixels = int(np.prod(self.reference.shape[1:]))
        if self.measure == PIXEL_FD and num_pixels > _MAX_PIXEL_FEATURES:
            raise UserError(
                f"pixel_fd compares images of at most {_MAX_PIXEL_FEATURES} values, these have {num_pixels}; "
                "use --measure=fsd with --squeezenet_weights"
            )

    def __call__(self, images: np.ndarray) -> float:
        """The distance of images [count, height, width, channels], in [-1, 1], to the reference."""
        clipped = np.clip(images, -1, 1)
        if self.measure == PIXEL_FD:
            ours, theirs = (FeatureStats.of(pixel_features(each)) for each in (clipped, np.clip(self.reference, -1, 1)))
            return frechet_distance(ours, theirs)
        return self._suite(len(images))(Generated(_in_batches(clipped, self.settings.batch_size)))[0].value

    def _suite(self, count: int) -> MetricSuite:
        """The metric for `count` images; it caches the statistics of the reference."""
        if count not in self._suites:
            protocol = parse_protocol(f"{self.measure}{count}_full")
            real = RealImages.of_array("reference", to_uint8(self.reference))
            self._suites[count] = MetricSuite([protocol], real, self.settings)
        return self._suites[count]

    @functools.cached_property
    def _suites(self) -> dict[int, MetricSuite]:
        return {}


def _in_batches(images: np.ndarray, size: int) -> SampleImages:
    """A set as the metrics sample from it, in batches of at most `size`."""

    def sample(seed: int, count: int) -> Iterator[Array]:
        del seed
        return (jnp.asarray(images[start : start + size]) for start in range(0, count, size))

    return sample
