"""What happens beside the steps: lines of numbers, sample grids, evaluations, checkpoints' schedule."""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

from inr_gan_jax.array_types import Array, Variables
from inr_gan_jax.config import Config
from inr_gan_jax.data.dataset import Dataset
from inr_gan_jax.data.input_pipeline import all_images
from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.pixel_fd import PixelFD
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.ops.image_grid import magnify, tile, to_uint8
from inr_gan_jax.training.metric_writers import MetricWriter
from inr_gan_jax.training.run_folder import SAMPLES
from inr_gan_jax.training.state import TrainState
from inr_gan_jax.training.steps import Scalars

# Streams of random numbers that no training step folds in.
_SAMPLE_STREAM, _EVALUATION_STREAM = 2**31 - 1, 2**31 - 2
# Tiles of a sample grid are magnified to about this many pixels, so that small pictures can be seen.
_SMALLEST_TILE = 64
_SECONDS_BETWEEN_LINES = 20.0
_DIVERGED_ADVICE = (
    "; the checkpoints on disk are finite, but a smaller learning rate or a larger loss.r1_gamma needs a new --workdir"
)


class TrainingDivergedError(UserError):
    """The numbers of the run stopped being finite."""


class Sampler:
    """Draws images from the averaged generator, a fixed number at a time so that one program is compiled.

    Args:
        generator: network.
        config: of the run.
    """

    def __init__(self, generator: Generator, config: Config) -> None:
        self._generator, self._config = generator, config
        self._images = jax.jit(generator.images)

    def __call__(self, variables: Variables, stream: int, count: int) -> np.ndarray:
        """Draws `count` images of a stream of latent codes: [count, height, width, channels], in [-1, 1]."""
        size, images = self._config.evaluation.batch_size, []
        key = jax.random.fold_in(jax.random.key(self._config.seed), stream)
        for number in range(-(-count // size)):
            z = self._generator.latents(jax.random.fold_in(key, number), size)
            images.append(np.asarray(self._images(variables, z, self._labels(number * size, size))))
        return np.concatenate(images)[:count]

    def _labels(self, first: int, count: int) -> Array | None:
        """Every class in turn, so that all are drawn equally often."""
        num_classes = self._config.data.num_classes
        if not num_classes:
            return None
        return jax.nn.one_hot((first + jnp.arange(count)) % num_classes, num_classes)


class Evaluation:
    """The metric of a run, with the distances between real images and real images beside it.

    Args:
        config: of the run; its metric is not `none`.
        dataset: real images, all of them used.
        sampler: draws generated images.
    """

    def __init__(self, config: Config, dataset: Dataset, sampler: Sampler) -> None:
        self._metric = PixelFD(all_images(dataset, config.data), config.evaluation.num_samples)
        self._sampler = sampler
        self.name = f"metric/{config.evaluation.metric}"
        self.floors = self._metric.floors()
        self.latest: float | None = None

    @property
    def floor_scalars(self) -> dict[str, float]:
        """The distances between real images and real images, to log beside the metric."""
        return {f"{self.name}_floor_resampled": self.floors.resampled, f"{self.name}_floor_halves": self.floors.halves}

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Computes the metric of the averaged generator."""
        value = self._metric(lambda count: self._sampler(state.ema_variables, _EVALUATION_STREAM, count))
        self.latest = value
        return {self.name: value}

    def describe(self, value: float) -> str:
        """One sentence that puts a value beside its floors."""
        count = self._metric.num_samples
        return (
            f"pixel Fréchet distance {value:.4f} ({count} generated images against all real ones, in [0, 1]); floors: "
            f"{self.floors.resampled:.4f} for {count} real images drawn with replacement, {self.floors.halves:.4f} "
            "between two random halves of the real images"
        )


def check_finite(state: TrainState, kimg: float) -> None:
    """Checks the parameters before they are kept; a checkpoint of numbers that are not finite would replace good ones.

    Raises:
        TrainingDivergedError: if one of them is not finite.
    """
    if not bool(_all_finite((state.generator_params, state.discriminator_params, state.ema_params))):
        raise TrainingDivergedError(f"parameters stopped being finite before {kimg:.1f} kimg{_DIVERGED_ADVICE}")


@jax.jit
def _all_finite(params: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


class ScalarLog:
    """Gathers scalars on the device and fetches their means once a tick, so that the loop never waits for one step."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Array]] = {}

    def add(self, scalars: Scalars) -> None:
        """Keeps the scalars of one step, without waiting for them."""
        for name, value in scalars.items():
            self._kept.setdefault(name, []).append(value)

    def means(self, kimg: float) -> dict[str, float]:
        """Means since the last call.

        Raises:
            TrainingDivergedError: if one of them is not finite.
        """
        fetched = jax.device_get(self._kept)
        self._kept = {}
        means = {name: float(np.mean(values)) for name, values in fetched.items()}
        for name, value in means.items():
            if not np.isfinite(value):
                raise TrainingDivergedError(f"{name} became {value} at {kimg:.1f} kimg{_DIVERGED_ADVICE}")
        return means


class Progress:
    """A bar in a terminal, plain lines elsewhere: kimg, images/s, time left, losses.

    Args:
        config: of the run.
        first_step: where the run goes on from.
    """

    def __init__(self, config: Config, first_step: int) -> None:
        self._batch, self._total = config.training.batch_size, config.training.total_steps
        self._first = first_step
        self._started = self._last_line = time.perf_counter()
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=self._total * self._batch,
            initial=first_step * self._batch,
            unit="img",
            unit_scale=True,
            disable=not self._is_terminal,
        )
        self._notes: dict[str, str] = {}

    def update(self, step: int, numbers: dict[str, float]) -> None:
        """Shows where the run is; numbers of earlier calls stay until replaced."""
        self._notes.update({name.split("/")[-1]: f"{value:.3f}" for name, value in numbers.items()})
        notes = ", ".join(f"{name} {value}" for name, value in self._notes.items())
        if self._is_terminal:
            self._bar.set_postfix_str(notes, refresh=False)
            self._bar.update(step * self._batch - self._bar.n)
            return
        now = time.perf_counter()
        if now - self._last_line < _SECONDS_BETWEEN_LINES and step < self._total:
            return
        self._last_line = now
        speed = (step - self._first) * self._batch / (now - self._started)
        left = tqdm.format_interval((self._total - step) * self._batch / max(speed, 1e-9))
        kimg, total = step * self._batch / 1000, self._total * self._batch / 1000
        print(f"{kimg:.1f} of {total:.1f} kimg, {speed:.0f} images/s, {left} left, {notes}", flush=True)

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(text) if self._is_terminal else print(text, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def write_sample_grid(state: TrainState, sampler: Sampler, config: Config, workdir: Path, writer: MetricWriter) -> None:
    """Draws a grid at fixed latent codes into the run folder and TensorBoard."""
    rows, columns = config.training.sample_grid
    images = to_uint8(sampler(state.ema_variables, _SAMPLE_STREAM, rows * columns))
    factor = max(1, _SMALLEST_TILE // max(images.shape[1:3]))
    grid = tile(magnify(images, factor), columns, gap=2)
    step = int(state.step)
    images_shown = step * config.training.batch_size
    picture = Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
    picture.save(workdir / SAMPLES / f"{images_shown:010d}.png")
    writer.write_images(step, {"samples": grid})
