"""The runs of a sweep: each a training of its own in a process of its own, several at a time, resumable."""

import contextlib
import dataclasses
import hashlib
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweeps import Row, Sweep, Value
from inr_gan_jax.checkpoint.manager import latest_step
from inr_gan_jax.cli.command import read_config
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.data.read.dataset import check_available
from inr_gan_jax.errors import UserError
from inr_gan_jax.training.evaluation import check_metric, check_weights_named
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.run_folder import CHECKPOINTS, CONFIG_FILE

_POLL_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_OF_ONE_WISH = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One row with one seed.

    Attributes:
        row: what is trained.
        seed: of weights, latent codes and the order of the images.
        kimg: thousands of real images to show.
        overrides: of the sweep, the row and the command line together.
        parent: where run folders lie.
        one_thread: whether it computes in one thread of a CPU, which changes its time only.
    """

    row: Row
    seed: int
    kimg: float
    overrides: Mapping[str, Value]
    parent: Path
    one_thread: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables and messages."""
        return f"{self.row.label}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Its run folder. Sweeps share the runs that they have in common, and a row that changes gets another."""
        what = json.dumps([self.row.config, dict(sorted(self.overrides.items()))])
        digest = hashlib.sha256(what.encode()).hexdigest()[:6]
        words = re.sub(r"[^\w,+]+", "-", self.row.config.removeprefix("configs/").replace(".py", ""))
        return self.parent / f"{words}-seed{self.seed}-{digest}"

    @property
    def log_file(self) -> Path:
        """What its process prints."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def arguments(self) -> list[str]:
        """Arguments of `python`."""
        keys: dict[str, Value] = {"seed": self.seed, "training.total_kimg": self.kimg, **self.overrides}
        keys |= {"one_cpu_thread": True} if self.one_thread else {}
        flags = [f"--config.{key}={value}" for key, value in keys.items()]
        return ["-m", "inr_gan_jax.main", f"--config={self.row.config}", *flags, f"--workdir={self.folder}"]

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return shlex.join(["python", *self.arguments])

    def check(self) -> None:
        """Checks what its training would refuse before it starts: keys and values, the metric, the data set.

        Raises:
            UserError: one sentence that names the run.
        """
        try:
            config = parse_config(read_config([a for a in self.arguments if a.startswith("--config")]))
            if config.evaluation.metric == "none":
                raise UserError("config.evaluation.metric is none, and runs are compared by it")
            check_metric(config.evaluation)
            check_weights_named(config.evaluation)
            check_available(config.data)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error

    def metric_lines(self) -> list[dict[str, Any]]:
        """The lines of its numbers that hold the metric, up to the images that it is to be shown."""
        return [line for line in self._evaluations() if line["step"] <= self.total_steps()]

    def _evaluations(self) -> list[dict[str, Any]]:
        return [line for line in read_metrics(self.folder) if any(name.startswith("metric/") for name in line)]

    def total_steps(self) -> float:
        """Steps of the whole run; infinite before its first start."""
        try:
            batch = json.loads((self.folder / CONFIG_FILE).read_text())["training"]["batch_size"]
        except (OSError, ValueError, KeyError):
            return float("inf")
        return max(1, round(self.kimg * 1000 / batch))

    def is_finished(self) -> bool:
        """Whether it has been shown all its images, perhaps more, was evaluated after the last, and was saved."""
        lines = self._evaluations()
        evaluated, saved = lines[-1]["step"] if lines else 0, latest_step(self.folder / CHECKPOINTS) or 0
        return min(evaluated, saved) >= self.total_steps()

    def shown(self) -> float:
        """Thousands of real images that it has been shown."""
        lines = read_metrics(self.folder)
        return min(lines[-1]["kimg"], self.kimg) if lines else 0.0


def runs_of(
    sweep: Sweep, parent: Path, overrides: Mapping[str, Value], only: Sequence[str] = (), one_thread: bool = False
) -> list[Run]:
    """The runs of a sweep: all rows with the first seed, then all with the next.

    Args:
        sweep: rows, seeds and images.
        parent: where run folders lie.
        overrides: of all rows, above those of the sweep and the rows.
        only: labels of the rows to take; empty for all.
        one_thread: whether each run computes in one thread of a CPU.
    """
    return [
        Run(row, seed, sweep.kimg, {**sweep.overrides, **row.overrides, **overrides}, parent, one_thread)
        for seed in sweep.seeds
        for row in sweep.rows
        if not only or row.label in only
    ]


def train_all(runs: Sequence[Run], jobs: int, say: Callable[[str], None] = print) -> dict[Run, str]:
    """Trains the unfinished runs; an interrupted run resumes from its newest checkpoint.

    When this ends before the runs do, they are told to save and to stop.

    Args:
        runs: in the order in which they start.
        jobs: how many at a time.
        say: gets lines about progress.

    Returns:
        Why a run failed, for those that did.
    """
    waiting = [run for run in runs if not run.is_finished()]
    going: dict[Run, subprocess.Popen] = {}
    failures: dict[Run, str] = {}
    progress = _Progress(runs, say)
    with contextlib.ExitStack() as stack:
        stack.callback(_stop, going)
        while waiting or going:
            while waiting and len(going) < jobs:
                run = waiting.pop(0)
                going[run] = _start(run)
            time.sleep(_POLL_SECONDS)
            for run in [run for run, process in going.items() if process.poll() is not None]:
                code = going.pop(run).returncode
                if not run.is_finished():
                    failures[run] = _reason(run, code)
                    say(f"{run.name} failed: {failures[run]}")
            progress.tell(going, waiting, failures)
    return failures


def interrupt_once() -> None:
    """Makes SIGTERM and Ctrl-C raise KeyboardInterrupt, but not again within a second.

    GNU `timeout` signals its child twice at once; the second signal would end `train_all` before its runs were told.
    """
    came_at: list[float] = []

    def handle(number: int, frame: object) -> None:
        del number, frame
        if not came_at or time.monotonic() - came_at[0] >= _SECONDS_OF_ONE_WISH:
            came_at.append(time.monotonic())
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


class _Progress:
    """Reports progress and the remaining time at regular intervals."""

    def __init__(self, runs: Sequence[Run], say: Callable[[str], None]) -> None:
        self._runs, self._say = runs, say
        self._first = sum(run.shown() for run in runs)
        self._started = self._told = time.monotonic()

    def tell(self, going: Mapping[Run, Any], waiting: Sequence[Run], failures: Mapping[Run, str]) -> None:
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        shown = {run: run.shown() for run in self._runs}
        finished = len(self._runs) - len(going) - len(waiting) - len(failures)
        left = sum(run.kimg - shown[run] for run in (*going, *waiting))
        done = sum(shown.values()) - self._first
        at = "; ".join(f"{run.name} at {shown[run]:.1f} of {run.kimg:g} kimg" for run in going)
        rest = f"; about {left / done * (now - self._started) / 60:.0f} minutes left" if done > 0 else ""
        failed = f", {len(failures)} failed" if failures else ""
        self._say(f"{finished} of {len(self._runs)} runs finished{failed}; {at}{rest}")


def _start(run: Run) -> subprocess.Popen:
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.log_file.open("a") as log:
        # Ctrl-C in a terminal goes to a whole session; `_stop` tells the runs, and waits for them.
        return subprocess.Popen(
            [sys.executable, *run.arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _stop(going: Mapping[Run, subprocess.Popen]) -> None:
    """Lets the runs save and waits for them."""
    for process in going.values():
        process.terminate()
    for process in going.values():
        process.wait()


def _reason(run: Run, code: int) -> str:
    """Why a run ended too early: the sentence that it ended with, or its last line."""
    lines = [line.strip() for line in run.log_file.read_text(errors="replace").splitlines() if line.strip()]
    sentences = [line for line in lines if line.startswith("error: ")]
    if code == 0:
        return "it ended without the metric of its last step; config.evaluation.metric must be set"
    last = sentences[-1].removeprefix("error: ") if sentences else lines[-1] if lines else "it printed nothing"
    return f"exit code {code}: {last}"
