"""launch/train.sh: 0 means finished, 143 stopped on request."""

import signal
from pathlib import Path

import pytest

from tests.launch.launchers import LAUNCH, environment, launch, read_line, started, write_python

# Saves and ends with 0 when asked to, as inr_gan_jax.main does; a second SIGTERM ends it at once.
STOPPABLE = """
import os, signal, sys, time
stop = []
def ask(number, frame):
    if stop:
        raise SystemExit(9)
    stop.append(number)
    os.write(1, b"asked\\n")
signal.signal(signal.SIGTERM, ask)
print("training", flush=True)
while not stop:
    time.sleep(0.01)
print("saved", flush=True)
"""


@pytest.mark.parametrize("code", [0, 1, 2, 9])
def test_train_gives_the_exit_code_of_the_program(tmp_path: Path, code: int) -> None:
    program = write_python(tmp_path / "python", f"raise SystemExit({code})")
    assert launch("train.sh", "--config=x", PYTHON=program).code == code


def test_train_only_runs_main_with_its_flags(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", "import sys; print(sys.argv[1:])")
    result = launch("train.sh", "--config=a b", "--config.name=it's", PYTHON=program)
    assert result.out == "['-m', 'inr_gan_jax.main', '--config=a b', \"--config.name=it's\"]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_train_that_is_stopped_saves_and_is_not_taken_for_finished(tmp_path: Path, number: signal.Signals) -> None:
    program = write_python(tmp_path / "python", STOPPABLE)
    with started(["bash", str(LAUNCH / "train.sh")], environment(PYTHON=program)) as running:
        assert read_line(running) == "training\n"
        running.send_signal(number)
        assert read_line(running) == "asked\n"
        assert read_line(running) == "saved\n"
        assert running.wait(10) == 143


def test_train_passes_a_second_signal_on(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", STOPPABLE.replace("while not stop", "while True"))
    with started(["bash", str(LAUNCH / "train.sh")], environment(PYTHON=program)) as running:
        assert read_line(running) == "training\n"
        running.terminate()
        assert read_line(running) == "asked\n"
        running.terminate()
        assert running.wait(10) == 9
