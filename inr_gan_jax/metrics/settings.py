"""What metrics are given and what they give back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inr_gan_jax.metrics.protocols import Protocol

if TYPE_CHECKING:
    from inr_gan_jax.metrics.feature_extraction import SampleImages
    from inr_gan_jax.metrics.ppl import PathGenerator

DEFAULT_CACHE = "~/.cache/inr_gan_jax/metrics"


@dataclasses.dataclass(frozen=True)
class MetricSettings:
    """Where the weights are, and how the work is laid out.

    Attributes:
        weights: name of a feature network, or `lpips_vgg_heads`, to the path of its file; those that are not named are
            looked up in the environment.
        batch_size: images at a time over all devices; another one changes values by rounding only.
        num_devices: devices that share a batch, 0 for all; any number gives the same values.
        cache_dir: where statistics of real images are kept; None: nowhere.
        path_precision: of path lengths; float32 errs by 0.4 % in the mean.
    """

    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)
    batch_size: int = 64
    num_devices: int = 0
    cache_dir: Path | None = None
    path_precision: Literal["float32", "float64"] = "float32"


@dataclasses.dataclass(frozen=True)
class Generated:
    """A generator as the metrics see it.

    Attributes:
        sample_images: samples images, in batches that are no larger than `MetricSettings.batch_size`.
        paths: what path lengths need; None where none are asked for.
        record: what the values depend on besides the protocol, such as the truncation; goes into every record.
    """

    sample_images: SampleImages
    paths: PathGenerator | None = None
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class MetricResult:
    """What a protocol gave.

    Attributes:
        protocol: of the value.
        values: name -> number; the first is the value of the metric.
        floors: distances between real images and real images by the same measure, where they are known.
        record: counts, conventions, seed, digests, precision and seconds, as plain data.
    """

    protocol: Protocol
    values: Mapping[str, float]
    floors: Mapping[str, float]
    record: Mapping[str, Any]

    @property
    def value(self) -> float:
        """The value of the metric."""
        return next(iter(self.values.values()))
