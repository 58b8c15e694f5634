"""The order of operations of a run, and nothing else.

Among several processes all take every step and every decision together. Process 0 alone writes what is written once,
evaluates, and looks at the numbers; what it decides is sent to the others, which wait for it.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
from etils import epath

from inr_gan_jax.array_types import Variables
from inr_gan_jax.checkpoint.manager import Checkpointer, CheckpointNotWrittenError
from inr_gan_jax.config.parse import Config
from inr_gan_jax.data.read.dataset import Dataset, open_dataset
from inr_gan_jax.data.read.pipeline import describe_data, make_iterator
from inr_gan_jax.data.read.prefetch import device_prefetch, rows_of_process
from inr_gan_jax.distributed.interruption import RunInterruptedError, StopRequest
from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import MachineError, UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.sampling import Sampler
from inr_gan_jax.training.closing_words import closing_words
from inr_gan_jax.training.evaluation import Evaluation, check_metric, check_weights_named, sampler_of_run
from inr_gan_jax.training.guard import Alarm, Guard, GuardRecord
from inr_gan_jax.training.hooks import Schedule, all_finite, local_copy, write_sample_grid
from inr_gan_jax.training.metric_writers import make_writer, read_metrics
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.perceptual import load_perceptual
from inr_gan_jax.training.progress import Progress, ScalarLog
from inr_gan_jax.training.progress_plot import write_training_plot
from inr_gan_jax.training.run_folder import (
    CHECKPOINTS,
    check_data,
    check_run_folder,
    make_run_folder,
    note_data,
    occupied,
    record_start,
)
from inr_gan_jax.training.sharding import Shardings, make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep
from inr_gan_jax.training.unfinished_ticks import UnfinishedTicks

# Which may lie elsewhere on each host of a run.
FOLDERS_OF_A_HOST = {"config.compilation_cache_dir", "config.data.data_dir", "config.evaluation.cache_dir"}


class TrainingDivergedError(UserError):
    """The run collapsed, or its numbers stopped being finite, and the guard had nothing left to try."""


@dataclasses.dataclass
class _Parts:
    """What a run works with. Everything that an exact resume needs is in the state and in the iterator.

    A run that `has_metric` has an `evaluation` in the first of its processes only.
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


def train(
    config: Config, workdir: epath.PathLike, processes: Processes | None = None, stop: StopRequest | None = None
) -> TrainState:
    """Trains until `total_kimg`, resuming from the newest sound checkpoint of the run folder when there is one.

    SIGTERM and Ctrl-C make it save and return; another one, a second later, ends the program.

    Args:
        config: of the run.
        workdir: run folder, the same for all processes; checkpoints, numbers, samples and the resolved configuration
            go there.
        processes: that train together; this one alone when not given.
        stop: notices signals; tells afterwards which one stopped the run.

    Returns:
        The final state.

    Raises:
        UserError: for a folder, data set or number of devices that does not fit, or a folder that another process
            trains in; nothing has been written then but the folder itself.
        TrainingDivergedError: when the guard stops the run; the last good checkpoint is kept.
        MachineError: if the run folder can no longer be written, or another process does not answer.
    """
    workdir, processes = epath.Path(workdir), processes or Processes()
    stop = stop or StopRequest(processes)
    with stop, contextlib.ExitStack() as stack:
        parts = _open_parts(config, workdir, stop, processes, stack)
        try:
            run = _Run(parts)
            try:
                run.go_on()
            finally:
                run.close()
            if not run.was_stopped:
                _say_result(parts, run.state)
                if processes.is_first:
                    kimg = int(run.state.step) * config.training.batch_size / 1000
                    print(closing_words(workdir, config, kimg), flush=True)
        except OSError as error:
            raise MachineError(
                f"run folder {workdir} cannot be written ({error.strerror or error}), so the run stops; the same "
                "command resumes from the newest checkpoint"
            ) from error
    return run.state


class _Run:
    """A run under way: its state, what it writes, and what it does after each step.

    Args:
        parts: what it works with.

    Attributes:
        was_stopped: whether it ended because it was asked to.
    """

    def __init__(self, parts: _Parts) -> None:
        self._parts, self._config = parts, parts.config
        self._processes, self.was_stopped = parts.processes, False
        self._step_function = jax.jit(parts.train_step, donate_argnums=0)
        # Programs for several CPU devices share a pool of threads and can starve each other: one at a time there.
        self._waits_each_step = jax.default_backend() == "cpu" and parts.shardings.num_devices > 1
        self._is_due = Schedule(self._config)
        self._first_position = parts.iterator.get_state()
        self._record = GuardRecord(parts.workdir)
        self.state, self._step = self._start()
        self._processes.from_first("note the data set", lambda: note_data(parts.workdir, parts.dataset.identity))
        self._saved_step = self._step
        self._writer = make_writer(parts.workdir, self._step, is_first=self._processes.is_first)
        self._progress = Progress(self._config, self._step, is_first=self._processes.is_first)
        self._unfinished_ticks = UnfinishedTicks(parts.workdir)
        self._scalars = ScalarLog(parts.train_step.intervals(), self._unfinished_ticks.read(self._step))
        self._guard = Guard(self._config, self._best_metric(), self._step)
        self._progress.say(_opening_line(parts, self._step))

    def go_on(self) -> None:
        """Trains until the end or until the run is asked to stop."""
        total = self._config.training.total_steps
        if self._processes.from_first("read the numbers of the run", self._evaluation_is_missing):
            self._after_step(only_evaluate=True)
        while self._step < total and self._parts.stop.may_begin():
            self._do_step()
            self._parts.stop.note_progress()
            self._after_step()
        self.was_stopped = self.was_stopped or self._step < total
        if self.was_stopped:
            self._save()
            self._parts.checkpoints.wait()
            kimg = self._kimg(self._step)
            reason = self._parts.stop.reason
            self._progress.say(f"stopped by {reason} at {kimg:.1f} kimg, saved; the same command resumes from there")

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
        recorded = self._processes.from_first("read the record of the guard", lambda: len(self._record.rollbacks()))
        return self._with_rollbacks(state, recorded), step

    def _fresh_state(self) -> TrainState:
        step = self._parts.train_step
        # The compiled initialisation places the state; restoring only replaces its values.
        parts = (self._config, step.generator, step.discriminator, step.optimizers)
        placement = self._parts.shardings.of_state(jax.eval_shape(lambda: init_state(*parts)))
        return jax.jit(lambda: init_state(*parts), out_shardings=placement)()

    def _with_rollbacks(self, state: TrainState, recorded: int) -> TrainState:
        count = np.asarray(max(int(state.num_rollbacks), recorded), state.num_rollbacks.dtype)
        return state.replace(num_rollbacks=jax.device_put(count, self._parts.shardings.replicated))

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
                self._draw_samples()
        cost, is_best = None, False
        if parts.has_metric and self._is_due("evaluate", step):
            variables = local_copy(self.state.ema_variables, parts.shardings.replicated)
            found = self._processes.from_first("evaluate", lambda: self._evaluate(variables), seconds=None)
            if found["is_interrupted"]:
                self.was_stopped = True
                return
            cost, is_best = found["cost"], found["is_best"]
            if self._act(found["action"]):
                return
        if self._is_due("checkpoint", step) or is_best:
            self._save(cost)

    def _log(self) -> bool:
        """Writes the numbers of a tick; returns whether the guard went back."""
        step, means = self._step, self._scalars.means()
        times = {"unix_time": time.time(), "time/images_per_second": self._progress.speed(step)}
        self._writer.write_scalars(step, {"kimg": self._kimg(step), **times, **means})
        self._progress.update(step, means)

        def look() -> dict[str, Any] | None:
            alarm = self._guard.look_at_tick(step, means)
            return self._decide(alarm) if alarm else None

        return self._act(self._processes.from_first("look at the numbers", look))

    def _draw_samples(self) -> None:
        variables = local_copy(self.state.ema_variables, self._parts.shardings.replicated)
        if self._processes.is_first:
            with contextlib.suppress(FloatingPointError, RunInterruptedError):
                sampler, check = self._parts.sampler(variables), self._parts.stop.check
                write_sample_grid(sampler, self._step, self._config, self._parts.workdir, self._writer, check)

    def _cost(self, value: float) -> float:
        """A number of which less is better, for any metric."""
        evaluation = self._parts.evaluation
        return value if evaluation is None or evaluation.lower_is_better else -value

    def _evaluate(self, variables: Variables) -> dict[str, Any]:
        """Computes the metric, in process 0, and decides what follows from it."""
        evaluation, step = self._parts.evaluation, self._step
        assert evaluation is not None, "the first process of a run with a metric evaluates"
        try:
            values = evaluation(variables)
        except RunInterruptedError:
            return {"is_interrupted": True}
        except FloatingPointError:
            values, cost = {}, math.nan
        else:
            cost = self._cost(values[evaluation.name])
            self._writer.write_scalars(step, {"kimg": self._kimg(step), **values, **evaluation.floor_scalars})
            self._progress.update(step, values)
        alarm = self._guard.look_at_metric(step, cost)
        action = self._decide(alarm) if alarm else None
        return {"is_interrupted": False, "cost": cost, "is_best": self._guard.is_best(cost), "action": action}

    def _save(self, metric: float | None = None) -> None:
        """Saves unless it has been done; a checkpoint that cannot be written does not end the run."""
        step = self._step
        if step == self._saved_step:
            return
        broken = "parameters" if not all_finite(self.state) else self._scalars.not_finite()
        if broken:
            # A checkpoint of such numbers would replace good ones.
            alarm = Alarm(f"{broken} stopped being finite before {self._kimg(step):.1f} kimg", True, self._saved_step)
            self._act(self._processes.from_first("decide what to do", lambda: self._decide(alarm)))
            return
        # Numbers first: a resumed run takes from the file what its checkpoint has seen.
        self._writer.flush()
        if self._processes.is_first:
            self._unfinished_ticks.write(step, self._scalars.kept())
        try:
            self._parts.checkpoints.save(step, self.state, self._parts.iterator, metric)
        except CheckpointNotWrittenError as error:
            if self.was_stopped or step == self._config.training.total_steps:
                raise
            self._progress.say(f"{error}; the run continues")
            return
        self._saved_step = step

    def _decide(self, alarm: Alarm) -> dict[str, Any]:
        """Says what is done about an alarm, in process 0, and puts it on record."""
        settings, step = self._config.guard, self._step
        rollbacks = self._record.rollbacks()
        action = settings.action
        if action == "log" and alarm.is_fatal:
            action = "stop"
        if action == "roll_back" and len(rollbacks) >= settings.max_rollbacks:
            action = "stop"
        known = {"step": step, "kimg": self._kimg(step), "reason": alarm.reason, "action": action}
        if action == "roll_back":
            # Trouble in the same place again: the checkpoint that was gone back to may already have been bad.
            again = [line["to_step"] for line in rollbacks if step <= line["step"]]
            target = min([alarm.last_good_step, *(to_step - 1 for to_step in again)])
            target = max((saved for saved in self._parts.checkpoints.steps() if saved <= target), default=0)
            known |= {"to_step": target, "to_kimg": self._kimg(target)}
        self._record.add(**known)
        return {**known, "num_rollbacks": len(rollbacks)}

    def _act(self, decision: Mapping[str, Any] | None) -> bool:
        """Says what is wrong, stops or goes back, in all processes; returns whether it went back.

        Raises:
            TrainingDivergedError: if the run stops.
        """
        if decision is None:
            return False
        reason, action, count = decision["reason"], decision["action"], decision["num_rollbacks"]
        if action == "log":
            self._progress.say(f"guard: {reason}")
            return False
        if action == "stop":
            tried = f" after going back {count} times" if count else ""
            raise TrainingDivergedError(
                f"{reason}; the run stops{tried}, its checkpoints on disk are from before; a smaller learning "
                "rate or a larger loss.r1_gamma needs a new --workdir"
            )
        self._go_back(decision["to_step"], reason)
        return True

    def _go_back(self, target: int, reason: str) -> None:
        """Takes up the run again at an earlier step, with other random numbers."""
        self._parts.iterator.set_state(self._first_position)
        self.state, self._step = self._start(at_most=target)
        self._parts.checkpoints.delete_after(self._step)
        self._saved_step = self._step
        self._writer.close()
        self._writer = make_writer(self._parts.workdir, self._step, is_first=self._processes.is_first)
        self._scalars.means()
        self._guard = Guard(self._config, self._best_metric(), self._step)
        self._progress.start_at(self._step)
        self._progress.say(
            f"guard: {reason}; going back to {self._kimg(self._step):.1f} kimg with other random numbers"
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


def _open_parts(
    config: Config, workdir: epath.Path, stop: StopRequest, processes: Processes, stack: contextlib.ExitStack
) -> _Parts:
    """Checks everything that can be wrong, then makes the run folder, which is left when the stack ends."""
    processes.check_equal({"--workdir": str(workdir), **config.overrides(without=FOLDERS_OF_A_HOST)})
    processes.from_first("look at the run folder", lambda: check_run_folder(workdir, config))
    check_metric(config.evaluation)
    check_weights_named(config.evaluation)
    features, distance = load_perceptual(config.loss)
    if config.compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache_dir).expanduser()))
    shardings = make_shardings(config.num_devices, config.training.batch_size, config.sharding)
    if len(shardings.mesh.local_devices) < jax.local_device_count() and processes.count > 1:
        raise UserError(f"config.num_devices is {config.num_devices}, expected 0 (all) with several processes")
    dataset = _open_dataset(config, processes)
    processes.from_first("compare data sets", lambda: check_data(workdir, dataset.identity, dataset.name))
    batch_size = config.training.batch_size
    rows = rows_of_process(shardings.batch, batch_size)
    iterator = device_prefetch(make_iterator(dataset, config.data, batch_size, config.seed, rows), shardings.batch)
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
        stack.enter_context(occupied(workdir))
        record_start(workdir)

    processes.from_first("make the run folder", prepare, seconds=None)
    settings = config.training
    checkpoints = Checkpointer(
        workdir / CHECKPOINTS,
        settings.keep_checkpoints,
        keep_every=settings.steps(settings.keep_every_kimg),
        metric=config.evaluation.metric if config.evaluation.metric != "none" else None,
        processes=processes,
    )
    return _Parts(
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
        checkpoints=checkpoints,
        stop=stop,
        dataset=dataset,
    )


def _open_evaluation(
    config: Config, dataset: Dataset, num_devices: int, stop: StopRequest, processes: Processes
) -> Evaluation | None:
    """The evaluation of a run with a metric, in the first process and on its devices; None elsewhere."""
    opened: list[Evaluation] = []

    def open_it() -> None:
        opened.append(Evaluation(config, dataset, num_devices, stop.check))

    if config.evaluation.metric != "none":
        processes.from_first("prepare the evaluation", open_it, seconds=None)
    return opened[0] if opened else None


def _open_dataset(config: Config, processes: Processes) -> Dataset:
    """Opens the data set in all processes, in the first one before the others: it may be prepared on the way."""
    opened: list[Dataset] = []

    def work() -> int:
        if not opened:
            opened.append(open_dataset(config.data))
        return len(opened[0])

    count = processes.from_first("open the data set", work)
    counts = processes.on_all("open the data set", work)
    if set(counts) != {count}:
        raise UserError(f"data set {config.data.name} has {counts} images in the processes, expected equal numbers")
    return opened[0]


def _say_result(parts: _Parts, state: TrainState) -> None:
    """Prints the metric of the final state and draws its curve."""
    if not parts.has_metric:
        return
    kimg = int(state.step) * parts.config.training.batch_size / 1000
    variables = local_copy(state.ema_variables, parts.shardings.replicated)

    def say() -> None:
        evaluation = parts.evaluation
        assert evaluation is not None, "the first process of a run with a metric evaluates"
        value = evaluation.latest
        if value is None:  # nothing was left to train
            value = evaluation(variables)[evaluation.name]
        print(f"{parts.config.name}, seed {parts.config.seed}, at {kimg:.1f} kimg: {evaluation.describe(value)}")
        write_training_plot(parts.workdir, evaluation.name, evaluation.floors)

    parts.processes.from_first("evaluate", say, seconds=None)


def _opening_line(parts: _Parts, first_step: int) -> str:
    device, count, processes = jax.devices()[0], parts.shardings.num_devices, parts.processes.count
    where = f"{count} {device.platform} device{'s' if count > 1 else ''}"
    where += f" of {processes} processes" if processes > 1 else ""
    kimg = first_step * parts.config.training.batch_size / 1000
    start = f"resuming from {kimg:.1f} kimg" if first_step else "starting"
    data = describe_data(parts.dataset, parts.config.data, parts.config.training.batch_size)
    return f"{parts.config.name}: {start} on {where}, into {parts.workdir}; {data}"
