"""Path lengths of a generator, batch by batch over devices."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array
from inr_gan_jax.metrics.devices import BatchDevices
from inr_gan_jax.metrics.networks import lpips
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS, WEIGHTS_OPTIONS
from inr_gan_jax.metrics.ppl import PathGenerator, PathInputs, path_distances, path_length, sample_paths
from inr_gan_jax.metrics.protocols import PathProtocol
from inr_gan_jax.metrics.settings import MetricSettings
from inr_gan_jax.progress import Progress


class PathMeasure:
    """Measures path lengths by LPIPS (vgg).

    Args:
        settings: weights, batch size and precision.

    Attributes:
        sha256: digests of the files of weights, by what they are.
        precision: of the generator and of the distances.

    Raises:
        UserError: for a file of weights that is missing or wrong.
    """

    def __init__(self, settings: MetricSettings) -> None:
        backbone = WEIGHTS_OPTIONS["vgg16"].resolve(settings.weights.get("vgg16"))
        heads = LPIPS_HEADS.resolve(settings.weights.get(LPIPS_HEADS.flag))
        self._params, self.sha256 = lpips.load_lpips("vgg", backbone, heads)
        self._batch_size = settings.batch_size
        self.precision = settings.path_precision

    def __call__(
        self, path: PathProtocol, count: int, generator: PathGenerator, seed: int, devices: BatchDevices
    ) -> float:
        """Computes the length over `count` paths; path i is sampled with fold_in(key(seed), i)."""
        key, batch, distances = jax.random.key(seed), self._batch_size, []
        with self._types(), Progress("paths", count) as progress:
            compute = self._program(path, generator, devices)
            for start in range(0, count, batch):
                size = min(batch, count - start)
                keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(start, start + batch))
                inputs = sample_paths(path, generator, keys)
                distances.append(np.asarray(compute(_spread(inputs, devices)))[:size])
                progress.add(size)
        return path_length(np.concatenate(distances))

    def _program(
        self, path: PathProtocol, generator: PathGenerator, devices: BatchDevices
    ) -> Callable[[PathInputs], Array]:
        """Maps the inputs of a batch to its distances."""
        trees = (generator.variables, self._params)
        weights = jax.device_put(jax.tree.map(self._cast, trees), devices.replicated)

        @jax.jit
        def compute(weights: Any, inputs: PathInputs) -> Array:
            variables, params = weights

            def distance(first: Array, second: Array) -> Array:
                return lpips.lpips("vgg", params, first, second)

            return path_distances(path, generator, variables, distance, inputs)

        return functools.partial(compute, weights)

    def _types(self) -> contextlib.AbstractContextManager[Any]:
        """Double precision where it is asked for."""
        return jax.enable_x64(True) if self.precision == "float64" else contextlib.nullcontext()

    def _cast(self, leaf: Any) -> Any:
        return jnp.asarray(leaf, self.precision) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _spread(inputs: PathInputs, devices: BatchDevices) -> PathInputs:
    """The inputs sharded over the devices, padded with the last path to a multiple of their number."""
    missing = devices.fitting(len(inputs.t)) - len(inputs.t)

    def fill(leaf: Array) -> Array:
        return jax.device_put(jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)]), devices.batch)

    return jax.tree.map(fill, inputs)
