"""A metric that follows a training run: one protocol, the same draws each time, its floors beside it."""

import dataclasses

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.feature_extraction import SampleImages
from inr_gan_jax.metrics.protocols import parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.registry import MetricSuite
from inr_gan_jax.metrics.settings import Generated, MetricResult, MetricSettings


@dataclasses.dataclass(frozen=True)
class Floors:
    """What the distance is between real images and real images.

    Attributes:
        resampled: as many images as are generated, drawn with replacement, against the whole set.
        halves: one random half against the other.
    """

    resampled: float
    halves: float


class RunMetric:
    """Computes a protocol for generators of one run.

    Args:
        protocol_name: as in `protocols.py`; path lengths cannot follow a run.
        real: real images, all of them used.
        settings: weights, batch size, cache.
        seed: of the latent codes, the same at every call.

    Attributes:
        name: of the value in a log.
        floors: None for measures without.
        latest: the last value computed, None before the first call.
        latest_result: the same with its record.

    Raises:
        UserError: for an unknown protocol, a path length, or a file of weights that is missing or wrong.
    """

    def __init__(self, protocol_name: str, real: RealImages, settings: MetricSettings, seed: int = 0) -> None:
        self.protocol = parse_protocol(protocol_name)
        if self.protocol.kind == "path_length":
            raise UserError(f"metric {protocol_name!r} cannot follow a run, python -m inr_gan_jax.evaluate computes it")
        self._suite = MetricSuite([self.protocol], real, settings)
        self._seed = seed
        self.name = f"metric/{self.protocol.value_names[0]}"
        self.floors: Floors | None = None
        if self.protocol.kind == "frechet":
            reference = self._suite.frechet_reference(self.protocol)
            self.floors = Floors(reference.floor_resampled, reference.floor_halves)
        self.latest: float | None = None
        self.latest_result: MetricResult | None = None

    @property
    def floor_scalars(self) -> dict[str, float]:
        """The distances between real images and real images, to log beside the metric."""
        if self.floors is None:
            return {}
        return {f"{self.name}_floor_resampled": self.floors.resampled, f"{self.name}_floor_halves": self.floors.halves}

    def __call__(self, sample_images: SampleImages) -> dict[str, float]:
        """Computes the metric.

        Args:
            sample_images: from a key and a number to images [number, height, width, channels] in [-1, 1].

        Returns:
            Name in a log -> number; the first is the value of the metric.
        """
        (result,) = self._suite(Generated(sample_images), self._seed)
        self.latest, self.latest_result = result.value, result
        return {f"metric/{name}": value for name, value in result.values.items()}

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best so far."""
        if best is None:
            return True
        return value < best if self.protocol.lower_is_better else value > best

    def describe(self, value: float) -> str:
        """One sentence that puts a value beside its floors."""
        count = self.protocol.num_generated
        text = f"{self.protocol.name} {value:.4f} ({count} generated images against all real ones)"
        if self.floors is None:
            return text
        return (
            f"{text}; floors: {self.floors.resampled:.4f} for {count} real images drawn with replacement, "
            f"{self.floors.halves:.4f} between two random halves of the real images"
        )
