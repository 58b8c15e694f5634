"""How far a set of pictures is from another, by the metrics of the project, for tools that change pictures."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.frechet import FeatureStats, frechet_distance
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS
from inr_gan_jax.metrics.pixel_fd import pixel_features
from inr_gan_jax.metrics.protocols import parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.settings import Generated, MetricSettings
from inr_gan_jax.ops.image_grid import to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Array, PRNGKey
    from inr_gan_jax.metrics.feature_extraction import SampleImages
    from inr_gan_jax.metrics.registry import MetricSuite

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()

PIXEL_FD = "pixel_fd"
MEASURES = (PIXEL_FD, "fsd", "fid")
_NETWORKS = ("squeezenet", "inception")
# Pixels of larger pictures are too many features for a covariance.
_MAX_PIXEL_FEATURES = 4096


@dataclasses.dataclass(frozen=True)
class SetDistance:
    """Frechet distance of sets to a reference set.

    Attributes:
        measure: `pixel_fd` by the pixels, `fsd` by SqueezeNet, `fid` by Inception.
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
                f"pixel_fd compares pictures of at most {_MAX_PIXEL_FEATURES} numbers, these have {num_pixels}; "
                "use --measure=fsd with --squeezenet_weights"
            )

    def __call__(self, images: np.ndarray) -> float:
        """The distance of images [count, height, width, channels], in [-1, 1], to the reference."""
        clipped = np.clip(images, -1, 1)
        if self.measure == PIXEL_FD:
            ours, theirs = (FeatureStats.of(pixel_features(each)) for each in (clipped, np.clip(self.reference, -1, 1)))
            return frechet_distance(ours, theirs)
        return self._suite(len(images))(Generated(_one_after_the_other(clipped)))[0].value

    def _suite(self, count: int) -> MetricSuite:
        """The metric for so many images; it keeps what it has computed of the reference."""
        from inr_gan_jax.metrics.registry import MetricSuite

        if count not in self._suites:
            protocol = parse_protocol(f"{self.measure}{count}_full")
            real = RealImages.of_array("reference", to_uint8(self.reference))
            self._suites[count] = MetricSuite([protocol], real, self.settings)
        return self._suites[count]

    @functools.cached_property
    def _suites(self) -> dict[int, MetricSuite]:
        return {}


def define_measure_flags() -> None:
    """Defines --measure and the flags of the weights that it may need."""
    flags.DEFINE_enum("measure", PIXEL_FD, list(MEASURES), "Fréchet distance by pixels, SqueezeNet or Inception.")
    for name in _NETWORKS:
        option = WEIGHTS_OPTIONS[name]
        flags.DEFINE_string(option.flag, None, f"File of weights; ${option.variable} by default.")


def chosen_settings() -> MetricSettings:
    """The weights that the flags name."""
    given = {name: flags.FLAGS[WEIGHTS_OPTIONS[name].flag].value for name in _NETWORKS}
    return MetricSettings(weights={name: path for name, path in given.items() if path})


def _one_after_the_other(images: np.ndarray) -> SampleImages:
    """A set as the metrics draw from it: batch after batch, starting again at its end."""
    import jax.numpy as jnp

    places = itertools.cycle(range(len(images)))

    def draw(key: PRNGKey, count: int) -> Array:
        del key
        return jnp.asarray(images[list(itertools.islice(places, count))])

    return draw
