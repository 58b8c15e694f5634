"""The metric of a run, computed now and then on the averaged generator."""

from pathlib import Path

import jax.numpy as jnp

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.config.parse import Config, EvaluationConfig
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.pipeline import all_images
from inr_gan_jax.data.read.random_access import read_images
from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS
from inr_gan_jax.metrics.pixel_fd import PixelFD, check_num_pixels
from inr_gan_jax.metrics.protocols import PIXEL_FD, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.run_metric import RunMetric
from inr_gan_jax.metrics.settings import MetricSettings
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.training.hooks import Sampler

# A stream of random numbers that no training step folds in.
_STREAM = 2**31 - 2


class Evaluation:
    """The metric of a run, with the distances between real images and real images beside it where it has them.

    Args:
        config: of the run; its metric is not `none`.
        dataset: real images, all of them used.
        sampler: draws generated images.

    Attributes:
        name: of the value in metrics.jsonl.
        lower_is_better: whether smaller values are better ones.
        latest: the last value; None before the first.

    Raises:
        UserError: for a file of weights that is missing or wrong.
    """

    def __init__(self, config: Config, dataset: Dataset, sampler: Sampler) -> None:
        settings, data = config.evaluation, config.data
        self._sampler = sampler
        self.latest: float | None = None
        if settings.metric == PIXEL_FD:
            check_num_pixels(len(dataset), data.height * data.width * data.channels)
            self._metric: PixelFD | RunMetric = PixelFD(all_images(dataset, data), settings.num_samples)
            self.name, self.lower_is_better = f"metric/{PIXEL_FD}", True
            self.floors = self._metric.floors()
            return
        real = RealImages(
            f"{data.name}, {data.split}", len(dataset), lambda indices: read_images(dataset, data, indices)
        )
        self._metric = RunMetric(settings.metric, real, _settings(config), config.seed)
        self.name, self.lower_is_better = self._metric.name, self._metric.protocol.lower_is_better
        self.floors = self._metric.floors

    @property
    def floor_scalars(self) -> dict[str, float]:
        """The distances between real images and real images, to log beside the metric."""
        if self.floors is None:
            return {}
        return {f"{self.name}_floor_resampled": self.floors.resampled, f"{self.name}_floor_halves": self.floors.halves}

    def __call__(self, variables: Variables) -> dict[str, float]:
        """Computes the metric of a generator; the first number is its value.

        Args:
            variables: of the averaged generator, on a device of this process.

        Raises:
            FloatingPointError: if images hold numbers that are not finite.
        """

        def draw(key: PRNGKey, count: int) -> Array:
            return jnp.asarray(self._sampler(variables, key, count))

        if isinstance(self._metric, RunMetric):
            values = self._metric(draw)
        else:
            images = self._sampler(variables, self._sampler.key(_STREAM), self._metric.num_samples)
            # Other programs measure pictures as they are stored: in bytes, nothing darker than black.
            stored = to_uint8(images) / 127.5 - 1
            distances = {self.name: images, f"{self.name}_bytes": stored}
            values = {name: self._metric(lambda _, shown=shown: shown) for name, shown in distances.items()}
        self.latest = values[self.name]
        return values

    def describe(self, value: float) -> str:
        """One sentence that puts a value beside its floors."""
        return self._metric.describe(value)


def check_metric(config: EvaluationConfig) -> None:
    """Checks the name of the metric, before anything is opened.

    Raises:
        UserError: for a name that is no protocol.
    """
    if config.metric not in ("none", PIXEL_FD):
        parse_protocol(config.metric)


def check_weights_named(config: EvaluationConfig) -> None:
    """Checks that a file is named where the metric needs weights; what is in it is checked when it is read.

    Raises:
        UserError: one sentence that says how to name it.
    """
    if config.metric in ("none", PIXEL_FD):
        return
    option = WEIGHTS_OPTIONS.get(parse_protocol(config.metric).network or "")
    if option and not option.find(config.weights_file):
        raise UserError(
            f"{config.metric} needs weights: set config.evaluation.weights_file or ${option.variable} to "
            f"{option.source}"
        )


def _settings(config: Config) -> MetricSettings:
    network = parse_protocol(config.evaluation.metric).network
    weights = {str(network): config.evaluation.weights_file} if config.evaluation.weights_file else {}
    return MetricSettings(weights=weights, batch_size=config.evaluation.batch_size, cache_dir=_cache(config))


def _cache(config: Config) -> Path | None:
    folder = config.evaluation.cache_dir
    return Path(folder).expanduser() if folder else None
