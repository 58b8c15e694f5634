"""The order of operations of a run, and nothing else."""

import itertools
import time
from pathlib import Path

import jax

from inr_gan_jax.checkpoint import Checkpointer
from inr_gan_jax.config import Config
from inr_gan_jax.data.dataset import open_dataset
from inr_gan_jax.data.input_pipeline import make_iterator
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.hooks import Evaluation, Progress, Sampler, ScalarLog, write_sample_grid
from inr_gan_jax.training.metric_writers import make_writer
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.progress_plot import write_training_plot
from inr_gan_jax.training.run_folder import CHECKPOINTS, check_run_folder, make_run_folder
from inr_gan_jax.training.sharding import make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep


def train(config: Config, workdir: Path) -> TrainState:
    """Trains until `total_kimg`, going on from the newest checkpoint of the run folder when there is one.

    Args:
        config: of the run.
        workdir: run folder; checkpoints, numbers, samples and the resolved configuration go there.

    Returns:
        The final state.

    Raises:
        UserError: for a folder, data set or number of devices that does not fit; nothing has been written then.
    """
    settings = config.training
    check_run_folder(workdir, config)
    shardings = make_shardings(config.num_devices, settings.batch_size)
    dataset = open_dataset(config.data)
    iterator = make_iterator(dataset, config.data, settings.batch_size, config.seed)
    make_run_folder(workdir, config)

    generator, discriminator = build_generator(config), build_discriminator(config)
    optimizers = build_optimizers(config)
    train_step = TrainStep(config, generator, discriminator, optimizers, shardings.batch)
    step_function = jax.jit(train_step, donate_argnums=0)
    regularise = jax.jit(train_step.regularise, donate_argnums=0)
    sampler = Sampler(generator, config)

    # The compiled initialisation places the state; restoring only replaces its values.
    initialise = jax.jit(init_state, static_argnums=(0, 1, 2, 3), out_shardings=shardings.replicated)
    state = initialise(config, generator, discriminator, optimizers)
    checkpoints = Checkpointer(workdir / CHECKPOINTS, settings.keep_checkpoints)
    restored = checkpoints.restore(state, iterator)
    state, first_step = restored if restored else (state, 0)

    writer = make_writer(workdir, first_step)
    evaluation = Evaluation(config, dataset, sampler) if config.evaluation.metric != "none" else None
    progress, scalar_log = Progress(config, first_step), ScalarLog()
    progress.say(_opening_line(config, workdir, first_step, shardings.num_devices))
    is_due = Schedule(config, first_step)
    # Programs for several CPU devices share a pool of threads and can starve each other: one at a time there.
    wait_each_step = jax.default_backend() == "cpu" and shardings.num_devices > 1

    for step in itertools.count(first_step + 1):
        if step > settings.total_steps:
            break
        batch = jax.device_put(next(iterator), shardings.batch)
        state, scalars = step_function(state, batch)
        scalar_log.add(scalars)
        if train_step.is_lazy() and (step - 1) % config.loss.r1_interval == 0:
            state, scalars = regularise(state, batch)
            scalar_log.add(scalars)
        if wait_each_step:
            jax.block_until_ready(state)
        kimg = step * settings.batch_size / 1000
        if is_due("log", step):
            means = scalar_log.means(kimg)
            writer.write_scalars(step, {"kimg": kimg, "seconds": time.time(), **means})
            progress.update(step, means)
        if is_due("sample", step):
            write_sample_grid(state, sampler, config, workdir, writer)
        if evaluation and is_due("evaluate", step):
            values = evaluation(state)
            writer.write_scalars(step, {"kimg": kimg, **values})
            progress.update(step, values)
        if is_due("checkpoint", step):
            writer.flush()
            checkpoints.save(step, state, iterator)

    checkpoints.close()
    writer.close()
    progress.close()
    if evaluation:
        value = evaluation(state)[evaluation.name]
        print(f"at {int(state.step) * settings.batch_size / 1000:.1f} kimg: {evaluation.describe(value)}")
        write_training_plot(workdir, evaluation.name, evaluation.floors)
    return state


class Schedule:
    """Says which periodic work is due after a step; all of it is due after the last."""

    def __init__(self, config: Config, first_step: int) -> None:
        del first_step
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
        return bool(period) and (step % period == 0 or step == self._last)


def _opening_line(config: Config, workdir: Path, first_step: int, num_devices: int) -> str:
    device = jax.devices()[0]
    where = f"{num_devices} {device.platform} device{'s' if num_devices > 1 else ''}"
    start = f"going on from {first_step * config.training.batch_size / 1000:.1f} kimg" if first_step else "starting"
    return f"{config.name}: {start} on {where}, into {workdir}"
