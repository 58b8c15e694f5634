"""The metric of a run, computed every few steps on the averaged generator, and the grids of samples."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.config.schema import Config, EvaluationConfig
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.images import read_images, read_labels
from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import batch_devices
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS
from inr_gan_jax.metrics.protocols import PIXEL_FD, parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.registry import MetricSuite
from inr_gan_jax.metrics.settings import Generated, MetricSettings
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.sampling import Sampler


class Evaluation:
    """The metric of a run, with the distances between real images and real images where it has them.

    A value equals that of `python -m inr_gan_jax.evaluate` on a checkpoint of the same step: the same seed, labels of
    random real images, fresh noise, no truncation.

    Args:
        config: of the run; its metric is not `none`.
        dataset: real images, all of them used.
        num_devices: devices of this process that share a batch; 0 for all.
        check: called for each batch; it may raise to end the evaluation.

    Attributes:
        name: of the value in metrics.jsonl.
        lower_is_better: whether smaller values are better ones.
        floors: "resampled" (as many real images as are generated, drawn with replacement, against the whole set) and
            "halves" (one random half of the real images against the other); empty for measures without.
        latest: the last value; None before the first.

    Raises:
        UserError: for an unknown protocol, a path length, a file of weights that is missing or wrong, or a data set
            that does not fit the metric.
    """

    def __init__(
        self, config: Config, dataset: Dataset, num_devices: int = 0, check: Callable[[], None] = lambda: None
    ) -> None:
        check_metric(config.evaluation)
        self.protocol = parse_protocol(config.evaluation.metric, config.evaluation.num_samples)
        data = config.data
        real = RealImages(f"{data.name}, {data.split}", len(dataset), functools.partial(read_images, dataset, data))
        self._suite = MetricSuite([self.protocol], real, _settings(config, num_devices))
        labels = read_labels(dataset) if data.num_classes else None
        self._sampler = sampler_of_run(config, num_devices, labels)
        self._seed, self._check = config.seed, check
        self.name = f"metric/{self.protocol.value_names[0]}"
        self.lower_is_better = self.protocol.lower_is_better
        self.floors: Mapping[str, float] = self._suite.floors(self.protocol)
        self.latest: float | None = None

    @property
    def floor_scalars(self) -> dict[str, float]:
        """The distances between real images and real images, to log with the metric."""
        return {f"{self.name}_floor_{name}": value for name, value in self.floors.items()}

    def __call__(self, variables: Variables) -> dict[str, float]:
        """Computes the metric of a generator; the first number is its value.

        Args:
            variables: of the averaged generator, addressable by this process.

        Raises:
            FloatingPointError: if images hold numbers that are not finite.
        """
        sampler = self._sampler(variables)

        def sample_images(seed: int, count: int) -> Iterator[Array]:
            for images in sampler.batches(seed, count):
                self._check()
                yield images

        (result,) = self._suite(Generated(sample_images), self._seed)
        self.latest = result.value
        return {f"metric/{name}": value for name, value in result.values.items()}

    def describe(self, value: float) -> str:
        """One sentence that compares a value with its floors."""
        count = self.protocol.num_generated
        text = f"{self.protocol.name} {value:.4f} ({count} generated images against all real ones)"
        if not self.floors:
            return text
        return (
            f"{text}; floors: {self.floors['resampled']:.4f} for {count} real images drawn with replacement, "
            f"{self.floors['halves']:.4f} between two random halves of the real images"
        )


def sampler_of_run(
    config: Config, num_devices: int = 0, real_labels: np.ndarray | None = None
) -> Callable[[Variables], Sampler]:
    """From the variables of the averaged generator of a run to its sampler.

    Args:
        config: of the run.
        num_devices: devices of this process that share a batch; 0 for all.
        real_labels: [num_real], class of every real image.
    """
    return functools.partial(
        Sampler,
        build_generator(config),
        mesh=batch_devices(num_devices).mesh,
        batch_size=config.evaluation.batch_size,
        real_labels=real_labels,
        source=f"the generator of {config.name}",
    )


def check_metric(settings: EvaluationConfig) -> None:
    """Checks the name of the metric, before anything is opened.

    Raises:
        UserError: for a name that is no protocol, and for a path length.
    """
    if settings.metric == "none":
        return
    if parse_protocol(settings.metric).kind == "path_length":
        raise UserError(f"metric {settings.metric!r} cannot follow a run, python -m inr_gan_jax.evaluate computes it")


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


def _settings(config: Config, num_devices: int) -> MetricSettings:
    settings = config.evaluation
    network = parse_protocol(settings.metric).network
    return MetricSettings(
        weights={str(network): settings.weights_file} if settings.weights_file else {},
        batch_size=settings.batch_size,
        num_devices=num_devices,
        cache_dir=Path(settings.cache_dir).expanduser() if settings.cache_dir else None,
    )
