"""Statistics of the real images, computed once and cached on disk under everything they depend on."""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.feature_extraction import FeatureExtractor, collect
from inr_gan_jax.metrics.frechet import FeatureStats, Moments, frechet_distance
from inr_gan_jax.metrics.protocols import Protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.storage import whole_file

# The floors are a property of the real set, so they do not depend on the seed of a run.
_FLOOR_SEED = 0
# To be raised when the numbers change for the same key.
_FORMAT = 1
_DAMAGED = (OSError, zipfile.BadZipFile, ValueError, KeyError, EOFError)


@dataclasses.dataclass(frozen=True)
class FrechetReference:
    """Real moments, and how far real images are from real images by the same measure.

    Attributes:
        stats: moments of the real set.
        floor_resampled: distance of as many real images as are generated, sampled with replacement, to the whole set.
        floor_halves: distance of one random half to the other.
    """

    stats: FeatureStats
    floor_resampled: float
    floor_halves: float


class RealStatistics:
    """Statistics of a real set, cached by the fingerprint of the set, the network and the protocol.

    Args:
        real: the set.
        extractor: of features; its network is part of the key.
        cache_dir: folder of the cache; None: nothing is cached on disk.
    """

    def __init__(self, real: RealImages, extractor: FeatureExtractor, cache_dir: Path | None) -> None:
        self._real, self._extractor, self._cache_dir = real, extractor, cache_dir
        # Loaded or computed by this process, by key.
        self._arrays: dict[str, dict[str, Any]] = {}

    def frechet_reference(self, protocol: Protocol) -> FrechetReference:
        """Moments and floors for a Frechet protocol."""
        ddof, count = protocol.ddof, protocol.num_generated
        assert ddof is not None, "of every Frechet protocol"
        real = self._real.limited(protocol.max_real)
        key = self._key(real, "frechet", ddof=ddof, num_generated=count)
        arrays = self._kept(key)
        if arrays is None:
            arrays = self._compute_moments(real, ddof, count)
            self._keep(key, arrays)
        stats = FeatureStats(arrays["mean"], arrays["covariance"], int(arrays["count"]))
        return FrechetReference(stats, float(arrays["floor_resampled"]), float(arrays["floor_halves"]))

    def features(self, protocol: Protocol) -> np.ndarray:
        """Features of every real image of a protocol: [count, features], float32."""
        real = self._real.limited(protocol.max_real)
        key = self._key(real, "features")
        arrays = self._kept(key)
        if arrays is None:
            name = self._extractor.network.features
            batches = real.batches(self._extractor.batch_size)
            kept = collect(self._extractor, batches, real.count, keep=(name,), label=f"real images of {real.name}")
            arrays = {"features": kept[name]}
            self._keep(key, arrays)
        return arrays["features"]

    def _compute_moments(self, real: RealImages, ddof: int, num_generated: int) -> dict[str, Any]:
        """Moments of the set, of two random halves, and of a sample with replacement, in one pass."""
        network = self._extractor.network
        rng = np.random.default_rng(_FLOOR_SEED)
        times_sampled = np.bincount(rng.integers(0, real.count, num_generated), minlength=real.count)
        in_first_half = rng.permutation(real.count) < real.count // 2
        whole, first, second, resampled = (Moments(network.num_features) for _ in range(4))
        done = 0

        def gather(features: np.ndarray) -> None:
            nonlocal done
            part = slice(done, done + len(features))
            whole.add(features)
            first.add(features[in_first_half[part]])
            second.add(features[~in_first_half[part]])
            resampled.add(np.repeat(features, times_sampled[part], axis=0))
            done += len(features)

        size = self._extractor.batch_size
        kept = self._kept(self._key(real, "features"))
        if kept is None:
            collect(self._extractor, real.batches(size), real.count, gather, label=f"real images of {real.name}")
        else:
            for start in range(0, real.count, size):
                gather(kept["features"][start : start + size])
        stats = whole.stats(ddof)
        return {
            "mean": stats.mean,
            "covariance": stats.covariance,
            "count": np.array(stats.count),
            "floor_resampled": np.array(frechet_distance(resampled.stats(ddof), stats)),
            "floor_halves": np.array(frechet_distance(first.stats(ddof), second.stats(ddof))),
        }

    def _key(self, real: RealImages, kind: str, **details: Any) -> str:
        network = self._extractor.network
        key = {
            "format": _FORMAT,
            "kind": kind,
            "images": real.fingerprint if self._cache_dir else "",
            "network": network.name,
            "weights": network.sha256,
            "features": network.features,
            "resize": network.resize,
            **details,
        }
        return json.dumps(key, sort_keys=True)

    def _path(self, key: str) -> Path | None:
        if self._cache_dir is None:
            return None
        entries = json.loads(key)
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._cache_dir.expanduser() / f"{entries['network']}-{entries['kind']}-{digest[:32]}.npz"

    def _kept(self, key: str) -> dict[str, Any] | None:
        """The arrays computed under a key earlier, in this process or another."""
        if key not in self._arrays:
            arrays = self._load(key)
            if arrays is None:
                return None
            self._arrays[key] = arrays
        return self._arrays[key]

    def _keep(self, key: str, arrays: dict[str, Any]) -> None:
        self._arrays[key] = arrays
        self._save(key, arrays)

    def _load(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays on disk under a key; None if absent or damaged."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except _DAMAGED:
            return None
        is_ours = "key" in arrays and arrays.pop("key").tobytes().decode("utf-8", "replace") == key
        return arrays if is_ours else None

    def _save(self, key: str, arrays: dict[str, Any]) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                np.savez(file, key=np.frombuffer(key.encode(), np.uint8), **arrays)
        except OSError as error:
            raise UserError(f"cache of real statistics {path.parent} cannot be written ({error.strerror})") from error
