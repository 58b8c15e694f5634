"""launch/slurm.sbatch, submitted to a fake Slurm and run in one."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.documented_arguments import faults
from tests.launch.fake_programs import Answer, FakePrograms
from tests.launch.launchers import LAUNCH, ROOT, Result, assert_refused, environment, flags_of, launch, write_python
from tests.launch.test_train import STOPPABLE

pytestmark = pytest.mark.slow

SCRIPT = "slurm.sbatch"
NUM_TASKS = 2


class Slurm:
    """A Slurm with one job, 42, whose step runs as two tasks on this machine.

    Args:
        folder: of its programs.
        training: the program in the place of python.
    """

    def __init__(self, folder: Path, training: str) -> None:
        self.python = write_python(folder / "python", training)
        self.fails = ""
        self.tasks: list[subprocess.Popen[str]] = []
        self.started = threading.Event()
        names = ["sbatch", "srun", "scancel", "scontrol"]
        self.programs = FakePrograms(folder / "programs", names, self._answer)

    def names_called(self) -> list[str]:
        return [words[0] for words in self.programs.calls]

    def signal_tasks(self, number: int) -> None:
        for task in self.tasks:
            task.send_signal(number)

    def variables(self) -> dict[str, str]:
        job = {"SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_CPUS_PER_TASK": "3"}
        return environment(self.programs.folder, PYTHON=self.python, KILL_SECONDS=60, **job)

    def run_job(self, *flags: str) -> subprocess.Popen[str]:
        """Starts the script as Slurm does: from a place of its own, in the folder of the submission."""
        command = ["bash", str(LAUNCH / SCRIPT), *flags]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd="/", env=self.variables(), stdout=pipe, stderr=pipe, text=True)

    def _answer(self, words: list[str]) -> Answer:
        if words[0] == self.fails:
            return Answer(err="slurm_load: Unable to contact slurm controller\n", code=1)
        if words[0] == "srun":
            return self._run_step(words[words.index("bash") :])
        if words[0] == "scancel":
            self.signal_tasks(signal.SIGTERM)
        return Answer("Submitted batch job 42\n" if words[0] == "sbatch" else "")

    def _run_step(self, command: list[str]) -> Answer:
        """The exit code of a step is the highest of its tasks."""
        pipe = subprocess.PIPE
        self.tasks = [
            subprocess.Popen(command, cwd=ROOT, env=self.variables(), stdout=pipe, text=True) for _ in range(NUM_TASKS)
        ]
        first = [task.stdout.readline() for task in self.tasks if task.stdout]
        self.started.set()
        rest = [task.communicate(timeout=30)[0] for task in self.tasks]
        return Answer("".join(first + rest), code=max(task.returncode for task in self.tasks))


@pytest.fixture
def slurm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Slurm]:
    made = Slurm(tmp_path, getattr(request, "param", STOPPABLE))
    yield made
    made.programs.close()
    assert not made.programs.faults


def submit(slurm: Slurm, *arguments: str, **variables: Any) -> Result:
    given = {"WORKDIR": "/shared/runs/church", "PYTHON": slurm.python, **variables}
    return launch(SCRIPT, *arguments, programs=slurm.programs.folder, **given)


def ended(job: subprocess.Popen[str]) -> Result:
    out, err = job.communicate(timeout=30)
    return Result(job.returncode, out, err)


def test_slurm_submits_itself_with_the_variables(slurm: Slurm) -> None:
    result = submit(slurm, "--config.name=it's", NODES=3, GPUS_PER_NODE=4, PARTITION="gpu", DATA_DIR="/shared/sets")
    assert result.code == 0, result
    (words,) = slurm.programs.calls
    flags = flags_of(words)
    # JAX takes one process a GPU for granted under Slurm.
    assert (flags["nodes"], flags["ntasks-per-node"], flags["gpus-per-node"]) == ("3", "4", "4")
    assert (flags["partition"], flags["signal"]) == ("gpu", "B:USR1@300")
    assert flags["export"] == f"ALL,PYTHON={slurm.python},TFDS_DATA_DIR=/shared/sets"
    script = words.index("launch/slurm.sbatch")
    assert words[script + 1 :] == [
        "--config=configs/lsun.py:church,release", "--workdir=/shared/runs/church", "--config.name=it's",
    ]  # fmt: skip


def test_slurm_directives_are_documented_and_agree_with_the_variables(slurm: Slurm) -> None:
    lines = (LAUNCH / SCRIPT).read_text().splitlines()
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert faults(["sbatch", *directives, "script"]) == []
    # sbatch stops looking at the first command.
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(number < first_command for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    submit(slurm)
    submitted = flags_of(slurm.programs.calls[0])
    for name, value in flags_of(directives).items():
        assert submitted.get(name, value) == value


def test_slurm_dry_run_shows_documented_commands_and_calls_none(slurm: Slurm) -> None:
    result = submit(slurm, "--config.seed=1", "--dry_run")
    assert result.code == 0
    assert slurm.programs.calls == []
    assert [words[0] for words in result.commands] == ["env", "sbatch", "srun"]
    assert [fault for words in result.commands[1:] for fault in faults(words)] == []


@pytest.mark.parametrize("slurm", ["print('done')"], indirect=True)
def test_slurm_job_runs_training_on_all_nodes(slurm: Slurm) -> None:
    result = ended(slurm.run_job("--config=x", "--workdir=a b"))
    assert result.code == 0, result
    assert "the run is finished" in result.out
    (words,) = slurm.programs.calls
    assert words[words.index("bash") :] == [
        "bash", "launch/train.sh", "--config=x", "--workdir=a b", "--multiprocess", "--expect=cuda",
    ]  # fmt: skip
    # Steps do not take this over from the job since Slurm 22.05.
    assert flags_of(words)["cpus-per-task"] == "3"


def test_slurm_job_saves_and_is_queued_again_before_its_time_is_over(slurm: Slurm) -> None:
    job = slurm.run_job("--config=x")
    assert slurm.started.wait(20)
    job.send_signal(signal.SIGUSR1)
    result = ended(job)
    assert result.code == 0, result
    assert result.out.count("saved\n") == NUM_TASKS
    assert slurm.programs.calls[1:] == [["scancel", "--signal=TERM", "42"], ["scontrol", "requeue", "42"]]


def test_slurm_job_that_slurm_stops_leaves_the_rest_to_slurm(slurm: Slurm) -> None:
    job = slurm.run_job("--config=x")
    assert slurm.started.wait(20)
    slurm.signal_tasks(signal.SIGTERM)
    time.sleep(0.5)
    job.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    # Neither ended nor queued again: it is Slurm that knows whether the job was preempted or cancelled.
    assert job.poll() is None
    assert slurm.names_called() == ["srun"]
    children = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout.split()
    for pid in [job.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    assert "stopped by Slurm, saved" in ended(job).out


@pytest.mark.parametrize(
    ("slurm", "code", "sentence"),
    [
        ("raise SystemExit(1)", 1, "error: training ended with exit code 1"),
        ("raise SystemExit(2)", 2, "error: main refused its flags"),
    ],
    indirect=["slurm"],
)
def test_slurm_job_that_fails_says_so_and_is_not_queued_again(slurm: Slurm, code: int, sentence: str) -> None:
    result = ended(slurm.run_job("--config=x"))
    assert result.code == code
    assert result.error.startswith(sentence)
    assert result.err.count("error: ") == 1
    assert slurm.names_called() == ["srun"]


def test_slurm_submission_that_fails_ends_with_one_sentence(slurm: Slurm) -> None:
    slurm.fails = "sbatch"
    result = submit(slurm)
    assert (result.code, result.err.count("error: ")) == (1, 1)
    assert result.error.startswith("error: submitting failed with exit code 1"), result.err


def test_slurm_job_that_cannot_be_queued_again_says_so(slurm: Slurm) -> None:
    slurm.fails = "scontrol"
    job = slurm.run_job("--config=x")
    assert slurm.started.wait(20)
    job.send_signal(signal.SIGUSR1)
    result = ended(job)
    assert result.code == 1
    assert result.error.startswith("error: queueing the job again failed with exit code 1"), result.err


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORKDIR": ""}, ["WORKDIR is not set"]),
        ({"WORKDIR": "/shared/my runs"}, ["WORKDIR is '/shared/my runs'", "without spaces"]),
        ({"JOB_NAME": "my run"}, ["JOB_NAME is 'my run'"]),
        ({"NODES": "two"}, ["NODES is 'two'", "a number of nodes"]),
        ({"TIME": "a day"}, ["TIME is 'a day'", "24:00:00"]),
        ({"PARTITION": "gpu; rm"}, ["PARTITION is 'gpu; rm'"]),
        ({"PYTHON": "a,b"}, ["PYTHON is 'a,b'", "commas"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_slurm_refuses_mistakes(slurm: Slurm, variables: dict[str, str], words: list[str]) -> None:
    assert_refused(submit(slurm, **variables), *words)
    assert slurm.programs.calls == []


def test_slurm_refuses_to_start_outside_the_checkout(tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(LAUNCH / SCRIPT)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert_refused(Result(done.returncode, done.stdout, done.stderr), "root of the checkout")
