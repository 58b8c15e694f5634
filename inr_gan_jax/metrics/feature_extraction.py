"""From images to features: batches of one size, spread over devices, no image lost and none counted twice."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.metrics.devices import BatchDevices
from inr_gan_jax.metrics.networks.registry import FeatureNetwork
from inr_gan_jax.progress import Progress

# From a seed and a number to so many images in batches [batch, height, width, channels], about [-1, 1], on the devices.
SampleImages = Callable[[int, int], Iterator[Array]]

_Submitted = tuple[int, dict[str, Array]]


@jax.jit
def quantised(images: Array) -> Array:
    """Turns images in [-1, 1] into bytes as StyleGAN's code does: 127.5 x + 128, clipped, cut off (not rounded)."""
    return jnp.clip(127.5 * images + 128, 0, 255).astype(jnp.uint8)


class FeatureExtractor:
    """Computes features of batches.

    Args:
        network: whose features.
        devices: that share a batch.
        batch_size: images at a time; rounded up to a multiple of the devices.
        outputs: of the network to compute besides its features.
    """

    def __init__(
        self, network: FeatureNetwork, devices: BatchDevices, batch_size: int, outputs: Sequence[str] = ()
    ) -> None:
        self.network = network
        self.batch_size = devices.fitting(batch_size)
        self._devices = devices
        self._params = jax.device_put(network.params, devices.replicated)
        names = (network.features, *outputs)

        def compute(params: Params, images: Array) -> dict[str, Array]:
            results = network.compute(params, images.astype(jnp.float32))
            return {name: results[name] for name in names}

        shardings = (devices.replicated, devices.batch)
        self._compute = jax.jit(compute, in_shardings=shardings, out_shardings=devices.batch)

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Computes features of batches of images, the next batch being prepared while devices work on one.

        Args:
            batches: each [count, height, width, 1 or 3], uint8, of at most `batch_size` images.

        Yields:
            Name of the output -> [count, ...], float32, for each batch.
        """
        waiting: _Submitted | None = None
        for images in batches:
            submitted = self._submit(images)
            if waiting is not None:
                yield _fetched(waiting)
            waiting = submitted
        if waiting is not None:
            yield _fetched(waiting)

    def _submit(self, images: np.ndarray) -> _Submitted:
        count = len(images)
        if not 1 <= count <= self.batch_size:
            raise ValueError(f"a batch of {count} images was given, expected 1 to {self.batch_size}")
        prepared = self.network.prepare(images)
        # One program for all batches: the last is filled up by an image whose features are then thrown away.
        filled = np.concatenate([prepared, np.repeat(prepared[-1:], self.batch_size - count, axis=0)])
        return count, self._compute(self._params, jax.device_put(filled, self._devices.batch))


def _fetched(submitted: _Submitted) -> dict[str, np.ndarray]:
    count, outputs = submitted
    return {name: np.asarray(array)[:count] for name, array in outputs.items()}


def finite(batches: Iterable[Array]) -> Iterator[Array]:
    """Yields batches of images as they are.

    Raises:
        FloatingPointError: if they hold numbers that are not finite, which would pass for black as bytes.
    """
    for images in batches:
        if not bool(_all_finite(images)):
            raise FloatingPointError("generated images hold numbers that are not finite")
        yield images


@jax.jit
def _all_finite(images: Array) -> Array:
    return jnp.all(jnp.isfinite(images))


def collect(
    extractor: FeatureExtractor,
    batches: Iterable[np.ndarray],
    count: int,
    each: Callable[[np.ndarray], None] | None = None,
    keep: Sequence[str] = (),
    label: str = "images",
) -> dict[str, np.ndarray]:
    """Computes features of a set of images and gathers what a metric needs of them.

    Args:
        extractor: computes the features.
        batches: of images, `count` in all.
        count: images in the set.
        each: gets the features [batch, features] of each batch, in order.
        keep: outputs to keep for every image.
        label: of the line that shows how far the work is.

    Returns:
        Name of each output to keep -> [count, ...], float32.

    Raises:
        ValueError: if there were more images, or fewer.
    """
    kept: dict[str, np.ndarray] = {}
    done = 0
    with Progress(label, count) as progress:
        for outputs in extractor.stream(batches):
            features = outputs[extractor.network.features]
            for name in keep:
                if name not in kept:
                    kept[name] = np.empty((count, *outputs[name].shape[1:]), np.float32)
                kept[name][done : done + len(features)] = outputs[name]
            if each is not None:
                each(features)
            done += len(features)
            progress.add(len(features))
    if done != count:
        raise ValueError(f"{done} images came of a set of {count}")
    return kept
