"""Periodic work of a run: sample grids, and when each kind of work is due."""

import io
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding
from PIL import Image

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.config.schema import Config
from inr_gan_jax.metrics.feature_extraction import finite
from inr_gan_jax.ops.image_grid import image_grid, magnify, to_uint8
from inr_gan_jax.sampling import Sampler, class_labels, keys_of_indices
from inr_gan_jax.training.metric_writers import MetricWriter
from inr_gan_jax.training.run_folder import SAMPLES
from inr_gan_jax.training.state import TrainState

# Tiles of a sample grid are magnified to about this many pixels, so that small pictures can be seen.
_SMALLEST_TILE = 64


def all_finite(state: TrainState) -> bool:
    """Whether all parameters are finite; a checkpoint of others would replace a good one."""
    return bool(_all_finite((state.generator_params, state.discriminator_params, state.ema_params)))


@jax.jit
def _all_finite(params: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


def local_copy(variables: Variables, replicated: NamedSharding) -> Variables:
    """Copies variables to one device of this process, which can then use them without the other processes.

    Args:
        variables: sharded over the devices of all processes; all must call this.
        replicated: the sharding with a whole copy of an array on every device.

    Returns:
        The copy; `variables` themselves in a run of one process.
    """
    if replicated.is_fully_addressable:
        return variables
    whole = jax.jit(lambda tree: tree, out_shardings=replicated)(variables)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)


def write_sample_grid(
    sampler: Sampler,
    step: int,
    config: Config,
    workdir: epath.Path,
    writer: MetricWriter,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Writes a grid of samples to the run folder and TensorBoard: the same latent codes each time, all classes in turn.

    Args:
        sampler: of the averaged generator.
        step: of the run.
        config: of the run.
        workdir: run folder.
        writer: of TensorBoard.
        check: called for each batch; it may raise to end the sampling.

    Raises:
        FloatingPointError: if images hold numbers that are not finite.
    """
    rows, columns = config.training.sample_grid
    count = rows * columns
    keys = keys_of_indices(jnp.uint32(config.seed), jnp.arange(count, dtype=jnp.uint32))
    batches = []
    for batch in finite(sampler.images(keys, class_labels(sampler.generator.c_dim, count))):
        check()
        batches.append(np.asarray(batch))
    images = to_uint8(np.concatenate(batches))
    factor = max(1, _SMALLEST_TILE // max(images.shape[1:3]))
    grid = image_grid(magnify(images, factor), columns, gap=2)
    images_shown = step * config.training.batch_size
    picture = Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    (workdir / SAMPLES / f"{images_shown:010d}.png").write_bytes(encoded.getvalue())
    writer.write_image(step, "samples", grid)


class Schedule:
    """Tells which periodic work is due after a step; after the last step all of it is."""

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
        """Whether this work is due after this step; with period 0 it never is."""
        period = self._periods[work]
        return bool(period) and step > 0 and (step % period == 0 or step == self._last)
