"""Computes metrics by name, from callables and real images, with a record of everything that a value depends on."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.devices import BatchDevices, batch_devices
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor, collect, finite, quantised
from inr_gan_jax.metrics.frechet import Moments, frechet_distance
from inr_gan_jax.metrics.inception_score import inception_score
from inr_gan_jax.metrics.kid import subset_kernel_distance
from inr_gan_jax.metrics.networks.registry import FeatureNetwork, load_feature_network
from inr_gan_jax.metrics.path_measure import PathMeasure
from inr_gan_jax.metrics.pixel_fd import PixelFD, check_num_pixels
from inr_gan_jax.metrics.precision_recall import precision_recall
from inr_gan_jax.metrics.protocols import Kind, Protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.metrics.real_statistics import FrechetReference, RealStatistics
from inr_gan_jax.metrics.settings import Generated, MetricResult, MetricSettings

_READ_AT_ONCE = 1024
_SCORED_OUTPUT = "logits_unbiased"
_WITHOUT_REAL: tuple[Kind, ...] = ("path_length", "inception_score")
_BY_FEATURES: tuple[Kind, ...] = ("kernel", "precision_recall")


class MetricSuite:
    """Metrics of generators against one set of real images.

    Weights are read at once, so that a wrong file is told before hours of work; devices are touched by the first call.

    Args:
        protocols: to compute.
        real: real images; path lengths and the Inception score need none.
        settings: see there.

    Raises:
        UserError: for a file of weights that is missing or wrong, or when real images are missing.
    """

    def __init__(self, protocols: Sequence[Protocol], real: RealImages | None, settings: MetricSettings) -> None:
        needs_real = [protocol.name for protocol in protocols if protocol.kind not in _WITHOUT_REAL]
        if real is None and needs_real:
            raise UserError(f"{needs_real[0]} needs real images, and no data set is given")
        for protocol in protocols:
            if real is not None and real.count < protocol.least_real:
                raise UserError(
                    f"{protocol.name} needs at least {protocol.least_real} real images, {real.name} has {real.count}"
                )
        self.protocols, self._real, self._settings = tuple(protocols), real, settings
        self._networks: dict[str, FeatureNetwork] = {}
        for protocol in protocols:
            name = protocol.network
            if name is not None and name not in self._networks:
                self._networks[name] = load_feature_network(name, settings.weights.get(name))
        has_paths = any(protocol.kind == "path_length" for protocol in protocols)
        self._paths = PathMeasure(settings) if has_paths else None
        self._by_pixels: PixelFD | None = None
        self._devices: BatchDevices | None = None
        self._extractors: dict[str, FeatureExtractor] = {}
        self._statistics: dict[str, RealStatistics] = {}

    def __call__(self, generated: Generated, seed: int = 0) -> list[MetricResult]:
        """As `each`, all results in the order of the protocols."""
        results = {result.protocol.name: result for result in self.each(generated, seed)}
        return [results[protocol.name] for protocol in self.protocols]

    def each(self, generated: Generated, seed: int = 0) -> Iterator[MetricResult]:
        """Computes all metrics; those that share a network and a number of images share one pass over the images.

        Args:
            generated: the generator.
            seed: of the latent codes.

        Yields:
            The results, as they are ready.
        """
        groups: dict[tuple[str | None, int], list[Protocol]] = {}
        for protocol in self.protocols:
            groups.setdefault((protocol.network, protocol.num_generated), []).append(protocol)
        for (network, _), protocols in groups.items():
            if network is not None:
                yield from self._compared(protocols, generated, seed)
                continue
            for protocol in protocols:
                measure = self._pixel_distance if protocol.kind == "pixel_frechet" else self._path_length
                yield measure(protocol, generated, seed)

    def floors(self, protocol: Protocol) -> dict[str, float]:
        """The distances between real images and real images by a protocol; empty for measures without."""
        if protocol.kind == "pixel_frechet":
            return dataclasses.asdict(self.pixel_distance(protocol).floors())
        if protocol.kind != "frechet":
            return {}
        reference = self.frechet_reference(protocol)
        return {"resampled": reference.floor_resampled, "halves": reference.floor_halves}

    def frechet_reference(self, protocol: Protocol) -> FrechetReference:
        """Real moments and floors of a Frechet protocol."""
        return self._real_statistics(protocol).frechet_reference(protocol)

    def _compared(self, protocols: Sequence[Protocol], generated: Generated, seed: int) -> Iterator[MetricResult]:
        """Metrics of one network and one number of images."""
        count, extractor = protocols[0].num_generated, self._extractor(protocols[0])
        kinds = {protocol.kind for protocol in protocols}
        keep = [extractor.network.features] if kinds.intersection(_BY_FEATURES) else []
        keep += [_SCORED_OUTPUT] if "inception_score" in kinds else []
        moments = Moments(extractor.network.num_features)
        batches = finite(generated.sample_images(seed, count))
        images = (np.asarray(quantised(batch)) for batch in batches)
        started = time.perf_counter()
        each = moments.add if "frechet" in kinds else None
        kept = collect(extractor, images, count, each, keep, label=f"generated images, {extractor.network.name}")
        seconds = time.perf_counter() - started
        # Those that keep real features first: real moments are then taken of them, without another pass.
        for protocol in sorted(protocols, key=lambda protocol: protocol.kind not in _BY_FEATURES):
            started = time.perf_counter()
            values, floors, used = self._measure(protocol, moments, kept)
            record = self._record(protocol, generated, seed)
            record["protocol"] |= used
            record |= {"seconds_features": seconds, "seconds_distance": time.perf_counter() - started}
            yield MetricResult(protocol, dict(zip(protocol.value_names, values, strict=True)), floors, record)

    def _measure(
        self, protocol: Protocol, moments: Moments, kept: Mapping[str, np.ndarray]
    ) -> tuple[tuple[float, ...], dict[str, float], dict[str, int]]:
        """Values and floors of a protocol, and the numbers used where they differ from the protocol's."""
        if protocol.kind == "inception_score":
            assert protocol.num_splits is not None, "of every Inception score"
            score = inception_score(kept[_SCORED_OUTPUT], protocol.num_splits)
            return (score.mean, score.std), {}, {}
        if protocol.kind == "frechet":
            assert protocol.ddof is not None, "of every Frechet protocol"
            reference = self.frechet_reference(protocol)
            value = frechet_distance(moments.stats(protocol.ddof), reference.stats)
            return (value,), self.floors(protocol), {}
        ours = kept[self._extractor(protocol).network.features]
        real = self._real_statistics(protocol).features(protocol)
        if protocol.kind == "kernel":
            assert protocol.num_subsets is not None, "of every kernel distance"
            assert protocol.subset_size is not None, "of every kernel distance"
            rng = np.random.RandomState(protocol.subset_seed)
            distance = subset_kernel_distance(ours, real, rng, protocol.num_subsets, protocol.subset_size)
            return (distance.mean, distance.std), {}, {"subset_size": distance.subset_size}
        assert protocol.num_neighbours is not None, "of precision and recall"
        shares = precision_recall(ours, real, protocol.num_neighbours)
        return (shares.precision, shares.recall), {}, {}

    def _path_length(self, protocol: Protocol, generated: Generated, seed: int) -> MetricResult:
        if generated.paths is None:
            raise UserError(f"{protocol.name} needs a generator whose latent codes can be interpolated")
        assert self._paths is not None, "made with the protocols"
        assert protocol.path is not None, "of every path length"
        started = time.perf_counter()
        value = self._paths(protocol.path, protocol.num_generated, generated.paths, seed, self._batch_devices())
        record = self._record(protocol, generated, seed) | {"seconds": time.perf_counter() - started}
        return MetricResult(protocol, {protocol.name: value}, {}, record)

    def pixel_distance(self, protocol: Protocol) -> PixelFD:
        """The distance by pixels to the real set, whose images are read once.

        Raises:
            UserError: for a set that is too small or too large for it.
        """
        assert self._real is not None, "checked by the constructor"
        if self._by_pixels is None:
            real = self._real
            check_num_pixels(real.count, real.read(np.arange(1)).size)
            images = np.concatenate([batch.astype(np.float32) / 127.5 - 1 for batch in real.batches(_READ_AT_ONCE)])
            self._by_pixels = PixelFD(images, protocol.num_generated)
        return self._by_pixels

    def _pixel_distance(self, protocol: Protocol, generated: Generated, seed: int) -> MetricResult:
        started = time.perf_counter()
        distance, count = self.pixel_distance(protocol), protocol.num_generated
        values = distance(np.asarray(batch) for batch in finite(generated.sample_images(seed, count)))
        record = self._record(protocol, generated, seed) | {"seconds": time.perf_counter() - started}
        names = zip(protocol.value_names, values, strict=True)
        return MetricResult(protocol, dict(names), self.floors(protocol), record)

    def _batch_devices(self) -> BatchDevices:
        if self._devices is None:
            self._devices = batch_devices(self._settings.num_devices)
        return self._devices

    def _extractor(self, protocol: Protocol) -> FeatureExtractor:
        name = protocol.network
        assert name is not None, "of every protocol but path lengths"
        if name not in self._extractors:
            is_scored = any(other.kind == "inception_score" and other.network == name for other in self.protocols)
            outputs = (_SCORED_OUTPUT,) if is_scored else ()
            settings, network = self._settings, self._networks[name]
            self._extractors[name] = FeatureExtractor(network, self._batch_devices(), settings.batch_size, outputs)
        return self._extractors[name]

    def _real_statistics(self, protocol: Protocol) -> RealStatistics:
        assert self._real is not None, "checked by the constructor"
        extractor = self._extractor(protocol)
        name = extractor.network.name
        if name not in self._statistics:
            self._statistics[name] = RealStatistics(self._real, extractor, self._settings.cache_dir)
        return self._statistics[name]

    def _record(self, protocol: Protocol, generated: Generated, seed: int) -> dict[str, Any]:
        """Everything that a value depends on."""
        record: dict[str, Any] = {"protocol": protocol.record(), "seed": seed, **generated.record}
        record["batch_size"] = self._settings.batch_size
        if self._real is not None and protocol.kind not in _WITHOUT_REAL:
            real = self._real.limited(protocol.max_real)
            record["real"] = {"name": real.name, "count": real.count, "fingerprint": self._real.fingerprint}
        if protocol.kind == "pixel_frechet":
            return record
        if protocol.network is None:
            assert self._paths is not None, "made with the protocols"
            return record | {"weights": self._paths.sha256, "precision": self._paths.precision}
        network = self._networks[protocol.network]
        return record | {
            "network": network.name,
            "weights": {network.name: network.sha256},
            "resize": network.resize,
            "precision": "features float32, products in full precision; statistics float64",
            "quantisation": "trunc(clip(127.5 x + 128, 0, 255))",
        }
