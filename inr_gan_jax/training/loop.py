"""The order of operations of a run, and nothing else."""

import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import grain
import jax

from inr_gan_jax.checkpoint import Checkpointer, CheckpointNotWrittenError
from inr_gan_jax.config import Config
from inr_gan_jax.data.dataset import open_dataset
from inr_gan_jax.data.device_prefetch import device_prefetch
from inr_gan_jax.data.input_pipeline import make_iterator
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.evaluation import Evaluation, check_metric
from inr_gan_jax.training.guard import Alarm, Guard, GuardRecord
from inr_gan_jax.training.hooks import Sampler, Schedule, all_finite, write_sample_grid
from inr_gan_jax.training.interruption import RunInterruptedError, StopRequest
from inr_gan_jax.training.metric_writers import make_writer, read_metrics
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.perceptual import load_perceptual
from inr_gan_jax.training.progress import Progress, ScalarLog
from inr_gan_jax.training.progress_plot import write_training_plot
from inr_gan_jax.training.run_folder import CHECKPOINTS, check_run_folder, make_run_folder, record_start
from inr_gan_jax.training.sharding import Shardings, make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep


class TrainingDivergedError(UserError):
    """The run collapsed, or its numbers stopped being finite, and the guard had nothing left to try."""


@dataclasses.dataclass
class _Parts:
    """What a run works with. Everything that an exact resume needs is in the state and in the iterator."""

    config: Config
    workdir: Path
    shardings: Shardings
    iterator: grain.DatasetIterator
    train_step: TrainStep
    features: Any
    sampler: Sampler
    evaluation: Evaluation | None
    checkpoints: Checkpointer
    stop: StopRequest


def train(config: Config, workdir: Path) -> TrainState:
    """Trains until `total_kimg`, going on from the newest sound checkpoint of the run folder when there is one.

    SIGTERM makes it save and return; a second one ends the program.

    Args:
        config: of the run.
        workdir: run folder; checkpoints, numbers, samples and the resolved configuration go there.

    Returns:
        The final state.

    Raises:
        UserError: for a folder, data set or number of devices that does not fit; nothing has been written then.
        TrainingDivergedError: when the guard stops the run; the last good checkpoint is kept.
    """
    with StopRequest() as stop:
        parts = _open_parts(config, workdir, stop)
        try:
            run = _Run(parts)
            try:
                run.go_on()
            finally:
                run.close()
            if not stop.is_requested:
                _say_result(parts, run.state)
        except OSError as error:
            raise UserError(
                f"run folder {workdir} cannot be written ({error.strerror or error}), so the run stops; the same "
                "command goes on from the newest checkpoint"
            ) from error
    return run.state


class _Run:
    """A run under way: its state, what it writes, and what it does after each step.

    Args:
        parts: what it works with.
    """

    def __init__(self, parts: _Parts) -> None:
        self._parts, self._config = parts, parts.config
        self._step_function = jax.jit(parts.train_step, donate_argnums=0)
        # Programs for several CPU devices share a pool of threads and can starve each other: one at a time there.
        self._waits_each_step = jax.default_backend() == "cpu" and parts.shardings.num_devices > 1
        self._is_due = Schedule(self._config)
        self._first_position = parts.iterator.get_state()
        self._record = GuardRecord(parts.workdir)
        self.state, self._step = self._start()
        self._saved_step = self._step
        self._writer = make_writer(parts.workdir, self._step)
        self._progress = Progress(self._config, self._step)
        self._scalars = ScalarLog(parts.train_step.intervals())
        self._guard = Guard(self._config, self._best_metric(), self._step)
        self._progress.say(_opening_line(parts, self._step))

    def go_on(self) -> None:
        """Trains until the end or until the run is asked to stop."""
        if self._evaluation_is_missing():
            self._after_step(only_evaluate=True)
        while self._step < self._config.training.total_steps and not self._parts.stop.is_requested:
            self._do_step()
            self._parts.stop.has_progress = True
            self._after_step()
        if self._parts.stop.is_requested:
            self._save()
            self._parts.checkpoints.wait()
            kimg = self._kimg(self._step)
            self._progress.say(f"stopped by SIGTERM at {kimg:.1f} kimg, saved; the same command goes on from there")

    def close(self) -> None:
        """Ends all files."""
        self._progress.close()
        self._writer.close()
        self._parts.checkpoints.close()

    def _start(self, at_most: int | None = None) -> tuple[TrainState, int]:
        """The state of the newest sound checkpoint, or a fresh one, and the number of steps it has done."""
        fresh = self._fresh_state()
        state, step = self._parts.checkpoints.restore(fresh, self._parts.iterator, at_most) or (fresh, 0)
        # What the record says counts: a run may have been killed between going back and its next checkpoint.
        return self._with_rollbacks(state), step

    def _fresh_state(self) -> TrainState:
        step = self._parts.train_step
        # The compiled initialisation places the state; restoring only replaces its values.
        parts = (self._config, step.generator, step.discriminator, step.optimizers)
        placement = self._parts.shardings.of_state(jax.eval_shape(lambda: init_state(*parts)))
        return jax.jit(lambda: init_state(*parts), out_shardings=placement)()

    def _with_rollbacks(self, state: TrainState) -> TrainState:
        count = max(int(state.num_rollbacks), len(self._record.rollbacks()))
        number = jax.device_put(jax.numpy.asarray(count, state.num_rollbacks.dtype), self._parts.shardings.replicated)
        return state.replace(num_rollbacks=number)

    def _do_step(self) -> None:
        """Shows one batch to the networks."""
        batch = next(self._parts.iterator)
        self.state, scalars = self._step_function(self.state, batch, self._parts.features)
        self._scalars.add(self._step, scalars)
        self._step += 1
        if self._waits_each_step:
            jax.block_until_ready(self.state)

    def _after_step(self, only_evaluate: bool = False) -> None:
        """Does whatever is due; a guard that goes back leaves the rest for later."""
        step, parts = self._step, self._parts
        if not only_evaluate:
            if self._is_due("log", step) and self._log():
                return
            if self._is_due("sample", step):
                with contextlib.suppress(FloatingPointError, RunInterruptedError):
                    write_sample_grid(self.state, parts.sampler, self._config, parts.workdir, self._writer)
        metric = None
        if parts.evaluation and self._is_due("evaluate", step):
            try:
                metric = self._evaluate(parts.evaluation)
            except RunInterruptedError:
                return
            alarm = self._guard.look_at_metric(step, metric)
            if alarm and self._act(alarm):
                return
        is_best = metric is not None and self._guard.is_best(metric)
        if self._is_due("checkpoint", step) or is_best:
            self._save(metric)

    def _log(self) -> bool:
        """Writes the numbers of a tick; returns whether the guard went back."""
        step, means = self._step, self._scalars.means()
        times = {"unix_time": time.time(), "time/images_per_second": self._progress.speed(step)}
        self._writer.write_scalars(step, {"kimg": self._kimg(step), **times, **means})
        self._progress.update(step, means)
        alarm = self._guard.look_at_tick(step, means)
        return alarm is not None and self._act(alarm)

    def _cost(self, value: float) -> float:
        """A number of which less is better, for any metric."""
        evaluation = self._parts.evaluation
        return value if evaluation is None or evaluation.lower_is_better else -value

    def _evaluate(self, evaluation: Evaluation) -> float:
        try:
            values = evaluation(self.state)
        except FloatingPointError:
            return math.nan
        self._writer.write_scalars(self._step, {"kimg": self._kimg(self._step), **values, **evaluation.floor_scalars})
        self._progress.update(self._step, values)
        return self._cost(values[evaluation.name])

    def _save(self, metric: float | None = None) -> None:
        """Saves unless it has been done; a checkpoint that cannot be written does not end the run."""
        step = self._step
        if step == self._saved_step:
            return
        broken = "parameters" if not all_finite(self.state) else self._scalars.not_finite()
        if broken:
            # A checkpoint of such numbers would replace good ones.
            reason = f"{broken} stopped being finite before {self._kimg(step):.1f} kimg"
            self._act(Alarm(reason, True, self._saved_step))
            return
        # Numbers first: a resumed run takes from the file what its checkpoint has seen.
        self._writer.flush()
        try:
            self._parts.checkpoints.save(step, self.state, self._parts.iterator, metric)
        except CheckpointNotWrittenError as error:
            if self._parts.stop.is_requested or step == self._config.training.total_steps:
                raise
            self._progress.say(f"{error}; the run goes on")
            return
        self._saved_step = step

    def _act(self, alarm: Alarm) -> bool:
        """Logs, stops or goes back; returns whether it went back.

        Raises:
            TrainingDivergedError: if the run stops.
        """
        settings, step = self._config.guard, self._step
        rollbacks = self._record.rollbacks()
        action = settings.action
        if action == "log" and alarm.is_fatal:
            action = "stop"
        if action == "roll_back" and len(rollbacks) >= settings.max_rollbacks:
            action = "stop"
        known = {"step": step, "kimg": self._kimg(step), "reason": alarm.reason, "action": action}
        if action == "log":
            self._record.add(**known)
            self._progress.say(f"guard: {alarm.reason}")
            return False
        if action == "stop":
            self._record.add(**known)
            tried = f" after going back {len(rollbacks)} times" if rollbacks else ""
            raise TrainingDivergedError(
                f"{alarm.reason}; the run stops{tried}, its checkpoints on disk are from before; a smaller learning "
                "rate or a larger loss.r1_gamma needs a new --workdir"
            )
        # Trouble in the same place again: the checkpoint that was gone back to may already have been bad.
        again = [line["to_step"] for line in rollbacks if step <= line["step"]]
        target = min([alarm.last_good_step, *(to_step - 1 for to_step in again)])
        target = max((saved for saved in self._parts.checkpoints.steps() if saved <= target), default=0)
        self._record.add(**known, to_step=target, to_kimg=self._kimg(target))
        self._go_back(target, alarm)
        return True

    def _go_back(self, target: int, alarm: Alarm) -> None:
        """Takes up the run again at an earlier step, with other random numbers."""
        self._parts.iterator.set_state(self._first_position)
        self.state, self._step = self._start(at_most=target)
        self._parts.checkpoints.delete_after(self._step)
        self._saved_step = self._step
        self._writer.close()
        self._writer = make_writer(self._parts.workdir, self._step)
        self._scalars.means()
        self._guard = Guard(self._config, self._best_metric(), self._step)
        self._progress.start_at(self._step)
        self._progress.say(
            f"guard: {alarm.reason}; going back to {self._kimg(self._step):.1f} kimg with other random numbers"
        )

    def _best_metric(self) -> tuple[float, int] | None:
        """The best metric in the file of numbers as a cost, and its step."""
        evaluation = self._parts.evaluation
        if evaluation is None:
            return None
        lines = [line for line in read_metrics(self._parts.workdir) if evaluation.name in line]
        return min(((self._cost(line[evaluation.name]), line["step"]) for line in lines), default=None)

    def _evaluation_is_missing(self) -> bool:
        """Whether the run was stopped within the evaluation that was due at its last step."""
        evaluation, step = self._parts.evaluation, self._step
        if evaluation is None or not self._is_due("evaluate", step):
            return False
        lines = read_metrics(self._parts.workdir)
        return not any(line["step"] == step and evaluation.name in line for line in lines)

    def _kimg(self, step: int) -> float:
        return step * self._config.training.batch_size / 1000


def _open_parts(config: Config, workdir: Path, stop: StopRequest) -> _Parts:
    """Checks everything that can be wrong, then makes the run folder."""
    check_run_folder(workdir, config)
    check_metric(config.evaluation)
    features, distance = load_perceptual(config.loss)
    if config.compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache_dir).expanduser()))
    shardings = make_shardings(config.num_devices, config.training.batch_size, config.sharding)
    dataset = open_dataset(config.data)
    iterator = device_prefetch(
        make_iterator(dataset, config.data, config.training.batch_size, config.seed), shardings.batch
    )
    train_step = TrainStep(
        config,
        build_generator(config, for_training=True),
        build_discriminator(config),
        build_optimizers(config),
        shardings,
        distance,
    )
    sampler = Sampler(build_generator(config), config, stop.check)
    evaluation = Evaluation(config, dataset, sampler) if config.evaluation.metric != "none" else None
    make_run_folder(workdir, config)
    record_start(workdir)
    settings = config.training
    checkpoints = Checkpointer(
        workdir / CHECKPOINTS,
        settings.keep_checkpoints,
        keep_every=settings.steps(settings.keep_every_kimg),
        metric=config.evaluation.metric if evaluation else None,
    )
    return _Parts(
        config=config,
        workdir=workdir,
        shardings=shardings,
        iterator=iterator,
        train_step=train_step,
        features=jax.device_put(features, shardings.replicated),
        sampler=sampler,
        evaluation=evaluation,
        checkpoints=checkpoints,
        stop=stop,
    )


def _say_result(parts: _Parts, state: TrainState) -> None:
    """Prints the metric of the final state and draws its curve."""
    if parts.evaluation is None:
        return
    value = parts.evaluation.latest
    if value is None:  # nothing was left to train
        value = parts.evaluation(state)[parts.evaluation.name]
    kimg = int(state.step) * parts.config.training.batch_size / 1000
    print(f"{parts.config.name}, seed {parts.config.seed}, at {kimg:.1f} kimg: {parts.evaluation.describe(value)}")
    write_training_plot(parts.workdir, parts.evaluation.name, parts.evaluation.floors)


def _opening_line(parts: _Parts, first_step: int) -> str:
    device, count = jax.devices()[0], parts.shardings.num_devices
    where = f"{count} {device.platform} device{'s' if count > 1 else ''}"
    kimg = first_step * parts.config.training.batch_size / 1000
    start = f"going on from {kimg:.1f} kimg" if first_step else "starting"
    return f"{parts.config.name}: {start} on {where}, into {parts.workdir}"
