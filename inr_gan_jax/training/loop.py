"""The order of operations of a run, and nothing else.

All processes take every step and every decision together. Only the primary process evaluates, checks the scalars and
writes the files of which a run has one; it broadcasts its decisions to the others, which wait for them.
"""

import contextlib
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from inr_gan_jax.array_types import Variables
from inr_gan_jax.checkpoint.manager import CheckpointNotWrittenError
from inr_gan_jax.config.schema import Config
from inr_gan_jax.distributed.interruption import RunInterruptedError, StopRequest
from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import MachineError, UserError
from inr_gan_jax.training.collapse_monitor import Alarm, CollapseMonitor, CollapseRecord, decide
from inr_gan_jax.training.hooks import Schedule, all_finite, local_copy, write_sample_grid
from inr_gan_jax.training.metric_writers import MetricWriter, read_metrics
from inr_gan_jax.training.progress import Progress, ScalarLog, UnfinishedTicks, final_summary, write_training_plot
from inr_gan_jax.training.run_folder import note_data
from inr_gan_jax.training.run_parts import RunParts, first_line, open_run_parts
from inr_gan_jax.training.state import TrainState, init_state


class TrainingDivergedError(UserError):
    """The run collapsed or its numbers stopped being finite, and no rollback is left."""


def train(
    config: Config, workdir: epath.PathLike, processes: Processes | None = None, stop: StopRequest | None = None
) -> TrainState:
    """Trains until `total_kimg`, resuming from the newest sound checkpoint of the run folder when there is one.

    SIGTERM and Ctrl-C make it save and return; a second signal, at least a second later, ends the program.

    Args:
        config: of the run.
        workdir: run folder, the same for all processes.
        processes: that train together; by default this one alone.
        stop: notices signals.

    Returns:
        The final state.

    Raises:
        UserError: for a mistake in folder, data set or devices, or a folder that another process trains in; nothing but
            the folder itself has been written then.
        TrainingDivergedError: when the guard stops the run; the last good checkpoint is kept.
        MachineError: if the run folder can no longer be written, or another process does not answer.
    """
    workdir, processes = epath.Path(workdir), processes or Processes()
    stop = stop or StopRequest(processes)
    with stop, contextlib.ExitStack() as stack:
        parts = open_run_parts(config, workdir, stop, processes, stack)
        try:
            run = _Run(parts)
            try:
                run.train()
            finally:
                run.close()
            if not run.was_stopped:
                _say_result(parts, run.state)
                if processes.is_primary:
                    kimg = int(run.state.step) * config.training.batch_size / 1000
                    print(final_summary(workdir, config, kimg), flush=True)
        except OSError as error:
            raise MachineError(
                f"run folder {workdir} cannot be written ({error.strerror or error}), so the run stops; the same "
                "command resumes from the newest checkpoint"
            ) from error
    return run.state


class _Run:
    """A run in progress.

    Args:
        parts: what it works with.

    Attributes:
        state: the current train state.
        was_stopped: whether a signal ended it.
    """

    def __init__(self, parts: RunParts) -> None:
        self._parts, self._config = parts, parts.config
        self._processes, self.was_stopped = parts.processes, False
        self._step_function = jax.jit(parts.train_step, donate_argnums=0)
        # Programs for several CPU devices share a thread pool and can deadlock, so only one may run at a time.
        self._waits_each_step = jax.default_backend() == "cpu" and parts.shardings.num_devices > 1
        self._is_due = Schedule(self._config)
        self._first_position = parts.iterator.get_state()
        self._record = CollapseRecord(parts.workdir)
        self.state, self._step = self._start()
        self._processes.broadcast_from_primary(
            "note the data set", lambda: note_data(parts.workdir, parts.dataset.identity)
        )
        self._saved_step = self._step
        self._writer = MetricWriter(parts.workdir, self._step, is_primary=self._processes.is_primary)
        self._progress = Progress(self._config, self._step, is_primary=self._processes.is_primary)
        self._unfinished_ticks = UnfinishedTicks(parts.workdir)
        self._scalars = ScalarLog(parts.train_step.intervals(), self._unfinished_ticks.read(self._step))
        self._monitor = CollapseMonitor(self._config, self._best_metric(), self._step)
        self._progress.say(first_line(parts, self._step))

    def train(self) -> None:
        """Trains until the end or until a signal asks the run to stop."""
        total = self._config.training.total_steps
        if self._processes.broadcast_from_primary("read the numbers of the run", self._evaluation_is_missing):
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
        """Closes all files."""
        self._progress.close()
        self._writer.close()
        self._parts.checkpoints.close()

    def _start(self, at_most: int | None = None) -> tuple[TrainState, int]:
        """The state of the newest sound checkpoint, or a new one, and its number of steps."""
        fresh = self._fresh_state()
        state, step = self._parts.checkpoints.restore(fresh, self._parts.iterator, at_most) or (fresh, 0)
        # The record decides: a run may have been killed between a rollback and its next checkpoint.
        recorded = self._processes.broadcast_from_primary(
            "read the record of rollbacks", lambda: len(self._record.rollbacks())
        )
        return self._with_rollbacks(state, recorded), step

    def _fresh_state(self) -> TrainState:
        step = self._parts.train_step
        # Compiled, the initialisation shards the state; restoring only replaces its values.
        parts = (self._config, step.generator, step.discriminator, step.optimizers)
        placement = self._parts.shardings.of_state(jax.eval_shape(lambda: init_state(*parts)))
        return jax.jit(lambda: init_state(*parts), out_shardings=placement)()

    def _with_rollbacks(self, state: TrainState, recorded: int) -> TrainState:
        count = np.asarray(max(int(state.num_rollbacks), recorded), state.num_rollbacks.dtype)
        return state.replace(num_rollbacks=jax.device_put(count, self._parts.shardings.replicated))

    def _do_step(self) -> None:
        """Trains on one batch."""
        batch = next(self._parts.iterator)
        self.state, scalars = self._step_function(self.state, batch, self._parts.features)
        self._scalars.add(self._step, scalars)
        self._step += 1
        if self._waits_each_step:
            jax.block_until_ready(self.state)

    def _after_step(self, only_evaluate: bool = False) -> None:
        """Does all periodic work that is due; a rollback skips the rest."""
        step, parts = self._step, self._parts
        if not only_evaluate:
            if self._is_due("log", step) and self._log():
                return
            if self._is_due("sample", step):
                self._write_samples()
        cost, is_best = None, False
        if parts.has_metric and self._is_due("evaluate", step):
            variables = local_copy(self.state.ema_variables, parts.shardings.replicated)
            found = self._processes.broadcast_from_primary("evaluate", lambda: self._evaluate(variables), seconds=None)
            if found["is_interrupted"]:
                self.was_stopped = True
                return
            cost, is_best = found["cost"], found["is_best"]
            if self._act(found["action"]):
                return
        if self._is_due("checkpoint", step) or is_best:
            self._save(cost)

    def _log(self) -> bool:
        """Logs the scalars of a tick; returns whether the run was rolled back."""
        step, means = self._step, self._scalars.means()
        times = {"unix_time": time.time(), "time/images_per_second": self._progress.speed(step)}
        self._writer.write_scalars(step, {"kimg": self._kimg(step), **times, **means})
        self._progress.update(step, means)

        def check() -> dict[str, Any] | None:
            alarm = self._monitor.check_tick(step, means)
            return self._decide(alarm) if alarm else None

        return self._act(self._processes.broadcast_from_primary("check the scalars", check))

    def _write_samples(self) -> None:
        variables = local_copy(self.state.ema_variables, self._parts.shardings.replicated)
        if self._processes.is_primary:
            with contextlib.suppress(FloatingPointError, RunInterruptedError):
                sampler, check = self._parts.sampler(variables), self._parts.stop.check
                write_sample_grid(sampler, self._step, self._config, self._parts.workdir, self._writer, check)

    def _cost(self, value: float) -> float:
        """The metric, negated if larger values are better."""
        evaluation = self._parts.evaluation
        return value if evaluation is None or evaluation.lower_is_better else -value

    def _evaluate(self, variables: Variables) -> dict[str, Any]:
        """Computes the metric, in the primary process, and decides what follows from it."""
        evaluation, step = self._parts.evaluation, self._step
        assert evaluation is not None, "the primary process of a run with a metric evaluates"
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
        alarm = self._monitor.check_metric_value(step, cost)
        action = self._decide(alarm) if alarm else None
        return {"is_interrupted": False, "cost": cost, "is_best": self._monitor.is_best(cost), "action": action}

    def _save(self, metric: float | None = None) -> None:
        """Saves unless this step is saved; a checkpoint that cannot be written does not end the run."""
        step = self._step
        if step == self._saved_step:
            return
        broken = "parameters" if not all_finite(self.state) else self._scalars.not_finite()
        if broken:
            # A checkpoint of such numbers would replace a good one.
            alarm = Alarm(f"{broken} stopped being finite before {self._kimg(step):.1f} kimg", True, self._saved_step)
            self._act(self._processes.broadcast_from_primary("decide what to do", lambda: self._decide(alarm)))
            return
        # Scalars first: a resumed run keeps the lines of the file up to its checkpoint.
        self._writer.flush()
        if self._processes.is_primary:
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
        return decide(alarm, self._record, self._config, self._step, self._parts.checkpoints.steps())

    def _act(self, decision: Mapping[str, Any] | None) -> bool:
        """Reports, stops or rolls back, in all processes; returns whether the run was rolled back.

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
            tried = f" after {count} rollbacks" if count else ""
            raise TrainingDivergedError(
                f"{reason}; the run stops{tried}, its checkpoints on disk are older; a smaller learning "
                "rate or a larger loss.r1_gamma needs a new --workdir"
            )
        self._roll_back(decision["to_step"], reason)
        return True

    def _roll_back(self, target: int, reason: str) -> None:
        """Resumes from an earlier checkpoint, with other random numbers."""
        self._parts.iterator.set_state(self._first_position)
        self.state, self._step = self._start(at_most=target)
        self._parts.checkpoints.delete_after(self._step)
        self._saved_step = self._step
        self._writer.close()
        self._writer = MetricWriter(self._parts.workdir, self._step, is_primary=self._processes.is_primary)
        self._scalars.means()
        self._monitor = CollapseMonitor(self._config, self._best_metric(), self._step)
        self._progress.start_at(self._step)
        self._progress.say(
            f"guard: {reason}; rolling back to {self._kimg(self._step):.1f} kimg with other random numbers"
        )

    def _best_metric(self) -> tuple[float, int] | None:
        """The best metric of `metrics.jsonl` as a cost, and its step."""
        evaluation = self._parts.evaluation
        if evaluation is None:
            return None
        lines = [line for line in read_metrics(self._parts.workdir) if evaluation.name in line]
        return min(((self._cost(line[evaluation.name]), line["step"]) for line in lines), default=None)

    def _evaluation_is_missing(self) -> bool:
        """Whether the run was stopped during the evaluation that was due at its last step."""
        evaluation, step = self._parts.evaluation, self._step
        if evaluation is None or not self._is_due("evaluate", step):
            return False
        lines = read_metrics(self._parts.workdir)
        return not any(line["step"] == step and evaluation.name in line for line in lines)

    def _kimg(self, step: int) -> float:
        return step * self._config.training.batch_size / 1000


def _say_result(parts: RunParts, state: TrainState) -> None:
    """Prints the metric of the final state and plots the metric."""
    if not parts.has_metric:
        return
    kimg = int(state.step) * parts.config.training.batch_size / 1000
    variables = local_copy(state.ema_variables, parts.shardings.replicated)

    def say() -> None:
        evaluation = parts.evaluation
        assert evaluation is not None, "the primary process of a run with a metric evaluates"
        value = evaluation.latest
        if value is None:  # nothing was left to train
            value = evaluation(variables)[evaluation.name]
        print(f"{parts.config.name}, seed {parts.config.seed}, at {kimg:.1f} kimg: {evaluation.describe(value)}")
        write_training_plot(parts.workdir, evaluation.name, evaluation.floors)

    parts.processes.broadcast_from_primary("evaluate", say, seconds=None)
