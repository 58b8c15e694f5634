"""The order of operations of a run, and nothing else."""

import dataclasses
import time
from pathlib import Path

import grain
import jax

from inr_gan_jax.checkpoint import Checkpointer
from inr_gan_jax.config import Config
from inr_gan_jax.data.dataset import open_dataset
from inr_gan_jax.data.input_pipeline import make_iterator
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.hooks import Evaluation, Progress, Sampler, ScalarLog, check_finite, write_sample_grid
from inr_gan_jax.training.metric_writers import make_writer
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.progress_plot import write_training_plot
from inr_gan_jax.training.run_folder import CHECKPOINTS, check_run_folder, make_run_folder
from inr_gan_jax.training.sharding import Shardings, make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep


@dataclasses.dataclass
class _Run:
    """What a run works with. Everything that an exact resume needs is in the state and in the iterator."""

    config: Config
    workdir: Path
    shardings: Shardings
    iterator: grain.DatasetIterator
    train_step: TrainStep
    sampler: Sampler
    evaluation: Evaluation | None
    checkpoints: Checkpointer

    def __post_init__(self) -> None:
        self.step_function = jax.jit(self.train_step, donate_argnums=0)
        self.regularise = jax.jit(self.train_step.regularise, donate_argnums=0)
        # Programs for several CPU devices share a pool of threads and can starve each other: one at a time there.
        self.wait_each_step = jax.default_backend() == "cpu" and self.shardings.num_devices > 1

    def start(self) -> tuple[TrainState, int]:
        """The state of the newest checkpoint, or a fresh one, and the number of steps it has done."""
        parts = (self.config, self.train_step.generator, self.train_step.discriminator, self.train_step.optimizers)
        # The compiled initialisation places the state; restoring only replaces its values.
        initialise = jax.jit(init_state, static_argnums=(0, 1, 2, 3), out_shardings=self.shardings.replicated)
        state = initialise(*parts)
        return self.checkpoints.restore(state, self.iterator) or (state, 0)

    def do_step(self, state: TrainState, step: int, scalar_log: ScalarLog) -> TrainState:
        """Shows one batch to the networks."""
        batch = jax.device_put(next(self.iterator), self.shardings.batch)
        state, scalars = self.step_function(state, batch)
        scalar_log.add(scalars)
        if self.train_step.is_lazy() and (step - 1) % self.config.loss.r1_interval == 0:
            state, scalars = self.regularise(state, batch)
            scalar_log.add(scalars)
        if self.wait_each_step:
            jax.block_until_ready(state)
        return state


def train(config: Config, workdir: Path) -> TrainState:
    """Trains until `total_kimg`, going on from the newest checkpoint of the run folder when there is one.

    Args:
        config: of the run.
        workdir: run folder; checkpoints, numbers, samples and the resolved configuration go there.

    Returns:
        The final state.

    Raises:
        UserError: for a folder, data set or number of devices that does not fit; nothing has been written then.
        TrainingDivergedError: when losses stop being finite; the last checkpoint is kept.
    """
    run = _open_run(config, workdir)
    state, first_step = run.start()
    writer = make_writer(workdir, first_step)
    progress, scalar_log = Progress(config, first_step), ScalarLog()
    progress.say(_opening_line(config, workdir, first_step, run.shardings.num_devices))
    is_due = Schedule(config)
    try:
        for step in range(first_step + 1, config.training.total_steps + 1):
            state = run.do_step(state, step, scalar_log)
            kimg = step * config.training.batch_size / 1000
            if is_due("log", step):
                means = scalar_log.means(kimg)
                writer.write_scalars(step, {"kimg": kimg, "unix_time": time.time(), **means})
                progress.update(step, means)
            if is_due("sample", step):
                write_sample_grid(state, run.sampler, config, workdir, writer)
            if run.evaluation and is_due("evaluate", step):
                values = run.evaluation(state)
                writer.write_scalars(step, {"kimg": kimg, **values, **run.evaluation.floor_scalars})
                progress.update(step, values)
            if is_due("checkpoint", step):
                check_finite(state, kimg)
                # Numbers first: a resumed run takes from the file what its checkpoint has seen.
                writer.flush()
                run.checkpoints.save(step, state, run.iterator)
    finally:
        progress.close()
        writer.close()
        run.checkpoints.close()
    _say_result(run, state)
    return state


def _open_run(config: Config, workdir: Path) -> _Run:
    """Checks everything that can be wrong, then makes the run folder."""
    check_run_folder(workdir, config)
    if config.compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache_dir).expanduser()))
    shardings = make_shardings(config.num_devices, config.training.batch_size)
    dataset = open_dataset(config.data)
    iterator = make_iterator(dataset, config.data, config.training.batch_size, config.seed)
    generator = build_generator(config)
    sampler = Sampler(generator, config)
    train_step = TrainStep(config, generator, build_discriminator(config), build_optimizers(config), shardings.batch)
    evaluation = Evaluation(config, dataset, sampler) if config.evaluation.metric != "none" else None
    make_run_folder(workdir, config)
    return _Run(
        config=config,
        workdir=workdir,
        shardings=shardings,
        iterator=iterator,
        train_step=train_step,
        sampler=sampler,
        evaluation=evaluation,
        checkpoints=Checkpointer(workdir / CHECKPOINTS, config.training.keep_checkpoints),
    )


def _say_result(run: _Run, state: TrainState) -> None:
    """Prints the metric of the final state and draws its curve."""
    if run.evaluation is None:
        return
    value = run.evaluation.latest
    if value is None:  # nothing was left to train
        value = run.evaluation(state)[run.evaluation.name]
    kimg = int(state.step) * run.config.training.batch_size / 1000
    print(f"{run.config.name}, seed {run.config.seed}, at {kimg:.1f} kimg: {run.evaluation.describe(value)}")
    write_training_plot(run.workdir, run.evaluation.name, run.evaluation.floors)


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
        return bool(period) and (step % period == 0 or step == self._last)


def _opening_line(config: Config, workdir: Path, first_step: int, num_devices: int) -> str:
    device = jax.devices()[0]
    where = f"{num_devices} {device.platform} device{'s' if num_devices > 1 else ''}"
    start = f"going on from {first_step * config.training.batch_size / 1000:.1f} kimg" if first_step else "starting"
    return f"{config.name}: {start} on {where}, into {workdir}"
