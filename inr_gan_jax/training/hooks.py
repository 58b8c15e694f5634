"""What happens beside the steps: sample grids, and when all of it is due."""

import io
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding
from PIL import Image

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.config.parse import Config
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.ops.image_grid import image_grid, magnify, to_uint8
from inr_gan_jax.training.metric_writers import MetricWriter
from inr_gan_jax.training.run_folder import SAMPLES
from inr_gan_jax.training.state import TrainState

# A stream of random numbers that no training step folds in.
_SAMPLE_STREAM = 2**31 - 1
# Tiles of a sample grid are magnified to about this many pixels, so that small pictures can be seen.
_SMALLEST_TILE = 64


class Sampler:
    """Draws images from the averaged generator, a fixed number at a time so that one program is compiled.

    Args:
        generator: network.
        config: of the run.
        check: called before each batch; it may raise to end the drawing.
    """

    def __init__(self, generator: Generator, config: Config, check: Callable[[], None] = lambda: None) -> None:
        self._generator, self._config, self._check = generator, config, check
        self._images = jax.jit(generator.images)

    def key(self, stream: int) -> PRNGKey:
        """The random key of a stream of latent codes of this run."""
        return jax.random.fold_in(jax.random.key(self._config.seed), stream)

    def __call__(self, variables: Variables, key: PRNGKey, count: int) -> np.ndarray:
        """Draws `count` images: [count, height, width, channels], in [-1, 1].

        Raises:
            FloatingPointError: if they hold numbers that are not finite.
        """
        size, images = self._config.evaluation.batch_size, []
        for number in range(-(-count // size)):
            self._check()
            z = self._generator.latents(jax.random.fold_in(key, number), size)
            images.append(np.asarray(self._images(variables, z, self._labels(number * size, size))))
        drawn = np.concatenate(images)[:count]
        if not np.all(np.isfinite(drawn)):
            raise FloatingPointError("generated images hold numbers that are not finite")
        return drawn

    def _labels(self, first: int, count: int) -> Array | None:
        """Every class in turn, so that all are drawn equally often."""
        num_classes = self._config.data.num_classes
        if not num_classes:
            return None
        return jax.nn.one_hot((first + jnp.arange(count)) % num_classes, num_classes)


def all_finite(state: TrainState) -> bool:
    """Whether all parameters are; a checkpoint of numbers that are not finite would replace good ones."""
    return bool(_all_finite((state.generator_params, state.discriminator_params, state.ema_params)))


@jax.jit
def _all_finite(params: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


def local_copy(variables: Variables, replicated: NamedSharding) -> Variables:
    """Variables of a run as this process alone can draw with them.

    Args:
        variables: spread over the devices of all processes; all must call this.
        replicated: the sharding that has an array whole on every device.

    Returns:
        The same on one device of this process; `variables` themselves where there is no other process.
    """
    if replicated.is_fully_addressable:
        return variables
    whole = jax.jit(lambda tree: tree, out_shardings=replicated)(variables)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)


def write_sample_grid(
    variables: Variables, step: int, sampler: Sampler, config: Config, workdir: epath.Path, writer: MetricWriter
) -> None:
    """Draws a grid at fixed latent codes into the run folder and TensorBoard."""
    rows, columns = config.training.sample_grid
    images = to_uint8(sampler(variables, sampler.key(_SAMPLE_STREAM), rows * columns))
    factor = max(1, _SMALLEST_TILE // max(images.shape[1:3]))
    grid = image_grid(magnify(images, factor), columns, gap=2)
    images_shown = step * config.training.batch_size
    picture = Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    (workdir / SAMPLES / f"{images_shown:010d}.png").write_bytes(encoded.getvalue())
    writer.write_images(step, {"samples": grid})


class Schedule:
    """Says which periodic work is due after a step; all of it is due after the last."""

    def __init__(self, config: Config) -> None:
        settings = config.training
        self._last = settings.total_steps
        self._periods = {
            "log": settings.steps(settings.log_kimg),
            "sample": settings.steps(settings.sample_kimg),
            "evaluate": settings.steps(settings.evaluate_kimg),
            "checkpoint": settings.steps(settings.checkpoint_kimg),
        }

    def __call__(self, work: str, step: int) -> bool:
        """Whether this work is due after this step; work with period 0 never is."""
        period = self._periods[work]
        return bool(period) and step > 0 and (step % period == 0 or step == self._last)
