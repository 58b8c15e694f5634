"""Opens everything that a run works with, after checking everything that can be wrong."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import jax
from etils import epath

from inr_gan_jax.array_types import Variables
from inr_gan_jax.checkpoint.manager import Checkpointer
from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.read.dataset import Dataset, open_dataset
from inr_gan_jax.data.read.pipeline import describe_data, make_iterator
from inr_gan_jax.data.read.prefetch import DevicePrefetch, rows_of_process
from inr_gan_jax.distributed.interruption import StopRequest
from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.sampling import Sampler
from inr_gan_jax.training.evaluation import Evaluation, check_metric, check_weights_named, sampler_of_run
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.phase_losses import load_perceptual
from inr_gan_jax.training.run_folder import (
    CHECKPOINTS,
    check_data,
    check_run_folder,
    lock_run_folder,
    make_run_folder,
    record_start,
)
from inr_gan_jax.training.sharding import Shardings, make_shardings
from inr_gan_jax.training.steps import TrainStep

# Keys whose values may differ between the hosts of a run.
PER_HOST_FOLDERS = {"config.compilation_cache_dir", "config.data.data_dir", "config.evaluation.cache_dir"}


@dataclasses.dataclass
class RunParts:
    """What a run works with. Everything that an exact resume needs is in the train state and in the iterator.

    Attributes:
        has_metric: whether the run is evaluated; `evaluation` is then set in the primary process only.
        features: weights of the network of the perceptual term; None for none.
    """

    config: Config
    workdir: epath.Path
    processes: Processes
    shardings: Shardings
    iterator: grain.DatasetIterator
    train_step: TrainStep
    features: Any
    sampler: Callable[[Variables], Sampler]
    has_metric: bool
    evaluation: Evaluation | None
    checkpoints: Checkpointer
    stop: StopRequest
    dataset: Dataset


def open_run_parts(
    config: Config, workdir: epath.Path, stop: StopRequest, processes: Processes, stack: contextlib.ExitStack
) -> RunParts:
    """Checks everything that can be wrong, then makes the run folder and locks it until the stack closes."""
    processes.check_equal({"--workdir": str(workdir), **config.overrides(without=PER_HOST_FOLDERS)})
    processes.broadcast_from_primary("look at the run folder", lambda: check_run_folder(workdir, config))
    check_metric(config.evaluation)
    check_weights_named(config.evaluation)
    features, distance = load_perceptual(config.loss)
    if config.compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache_dir).expanduser()))
    shardings = _open_devices(config, processes)
    dataset = _open_dataset(config, processes)
    processes.broadcast_from_primary("compare data sets", lambda: check_data(workdir, dataset.identity, dataset.name))
    batch_size = config.training.batch_size
    rows = rows_of_process(shardings.batch, batch_size)
    iterator = DevicePrefetch(make_iterator(dataset, config.data, batch_size, config.seed, rows), shardings.batch)
    train_step = TrainStep(
        config,
        build_generator(config, for_training=True),
        build_discriminator(config),
        build_optimizers(config),
        shardings,
        distance,
    )
    num_local = len(shardings.mesh.local_devices)
    evaluation = _open_evaluation(config, dataset, num_local, stop, processes)

    def prepare() -> None:
        make_run_folder(workdir, config)
        stack.enter_context(lock_run_folder(workdir))
        record_start(workdir)

    processes.broadcast_from_primary("make the run folder", prepare, seconds=None)
    return RunParts(
        config=config,
        workdir=workdir,
        processes=processes,
        shardings=shardings,
        iterator=iterator,
        train_step=train_step,
        features=jax.device_put(features, shardings.replicated),
        sampler=sampler_of_run(config, num_local),
        has_metric=config.evaluation.metric != "none",
        evaluation=evaluation,
        checkpoints=_open_checkpoints(config, workdir, processes),
        stop=stop,
        dataset=dataset,
    )


def _open_evaluation(
    config: Config, dataset: Dataset, num_devices: int, stop: StopRequest, processes: Processes
) -> Evaluation | None:
    """The evaluation of a run with a metric, in the primary process and on its devices; None elsewhere."""
    opened: list[Evaluation] = []

    def open_it() -> None:
        opened.append(Evaluation(config, dataset, num_devices, stop.check))

    if config.evaluation.metric != "none":
        processes.broadcast_from_primary("prepare the evaluation", open_it, seconds=None)
    return opened[0] if opened else None


def _open_dataset(config: Config, processes: Processes) -> Dataset:
    """Opens the data set in all processes, in the primary one first, because opening may prepare the set."""
    opened: list[Dataset] = []

    def work() -> int:
        if not opened:
            opened.append(open_dataset(config.data))
        return len(opened[0])

    count = processes.broadcast_from_primary("open the data set", work)
    counts = processes.gather_from_all("open the data set", work)
    if set(counts) != {count}:
        raise UserError(
            f"data set {config.data.name} has {counts} images in the processes, expected the same number in all"
        )
    return opened[0]


def _open_devices(config: Config, processes: Processes) -> Shardings:
    shardings = make_shardings(config.num_devices, config.training.batch_size, config.sharding)
    if len(shardings.mesh.local_devices) < jax.local_device_count() and processes.count > 1:
        raise UserError(f"config.num_devices is {config.num_devices}, expected 0 (all) with several processes")
    return shardings


def _open_checkpoints(config: Config, workdir: epath.Path, processes: Processes) -> Checkpointer:
    settings = config.training
    return Checkpointer(
        workdir / CHECKPOINTS,
        settings.keep_checkpoints,
        keep_every=settings.steps(settings.keep_every_kimg),
        metric=config.evaluation.metric if config.evaluation.metric != "none" else None,
        processes=processes,
    )


def first_line(parts: RunParts, first_step: int) -> str:
    """Says what starts or resumes where, on which devices and data."""
    device, count, processes = jax.devices()[0], parts.shardings.num_devices, parts.processes.count
    where = f"{count} {device.platform} device{'s' if count > 1 else ''}"
    where += f" of {processes} processes" if processes > 1 else ""
    kimg = first_step * parts.config.training.batch_size / 1000
    start = f"resuming from {kimg:.1f} kimg" if first_step else "starting"
    data = describe_data(parts.dataset, parts.config.data, parts.config.training.batch_size)
    return f"{parts.config.name}: {start} on {where}, into {parts.workdir}; {data}"
