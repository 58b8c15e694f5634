"""launch/local_multiprocess.sh, with a small program in the place of training."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.launch.launchers import (
    LAUNCH,
    assert_refused,
    environment,
    flags_of,
    launch,
    read_line,
    started,
    write_python,
)
from tests.launch.test_train import STOPPABLE

pytestmark = pytest.mark.slow

SCRIPT = "local_multiprocess.sh"
CONFIG = "--config=configs/digits.py"

# Tells what it was given.
TELLING = """
import json, os, sys
words = ["JAX_PLATFORMS", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES"]
print(json.dumps([sys.argv[1:], {word: os.environ[word] for word in words if word in os.environ}]))
"""
# Process 1 dies, and leaves a worker behind; the others go on for an hour, deaf to SIGTERM.
ONE_DIES = """
import os, signal, subprocess, sys, time
pids = sys.argv[0] + ".pids"
if "--process_id=1" in sys.argv:
    print("the disk is gone", flush=True)
    while not os.path.exists(pids) or len(open(pids).readlines()) < 2:
        time.sleep(0.01)
    left = subprocess.Popen(["sleep", "3600"])
    with open(pids, "a") as file:
        print(left.pid, file=file)
    {end}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(pids, "a") as file:
    print(os.getpid(), file=file)
time.sleep(3600)
"""


def told(out: str) -> dict[int, tuple[list[str], dict[str, str]]]:
    """What each process was given, by the mark before its line."""
    lines = [line.split(" ", 1) for line in out.splitlines() if line.startswith("[")]
    return {int(mark.strip("[]")): json.loads(text) for mark, text in lines}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended but that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_local_multiprocess_tells_each_process_its_number_and_one_coordinator(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", TELLING)
    result = launch(SCRIPT, CONFIG, "--config.name=two words", NUM_PROCESSES=3, DEVICES_PER_PROCESS=2, PYTHON=program)
    assert result.code == 0, result
    given = told(result.out)
    assert sorted(given) == [0, 1, 2]
    for number, (arguments, variables) in given.items():
        assert arguments[:4] == ["-m", "inr_gan_jax.main", CONFIG, "--config.name=two words"]
        assert "--multiprocess" in arguments
        flags = flags_of(arguments)
        assert (flags["process_id"], flags["num_processes"], flags["expect"]) == (str(number), "3", "cpu")
        assert variables["JAX_PLATFORMS"] == "cpu"
        assert "--xla_force_host_platform_device_count=2" in variables["XLA_FLAGS"]
    assert len({flags_of(arguments)["coordinator"] for arguments, _ in given.values()}) == 1


def test_local_multiprocess_gives_each_cuda_process_a_gpu_of_its_own(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", TELLING)
    given = told(launch(SCRIPT, CONFIG, PLATFORM="cuda", PYTHON=program).out)
    assert [given[number][1]["CUDA_VISIBLE_DEVICES"] for number in (0, 1)] == ["0", "1"]


@pytest.mark.parametrize(
    ("end", "how"),
    [("sys.exit(3)", "with exit code 3"), ("os.kill(os.getpid(), signal.SIGKILL)", "by signal 9")],
    ids=["fails", "killed"],
)
def test_local_multiprocess_ends_all_when_one_dies_and_names_it(tmp_path: Path, end: str, how: str) -> None:
    program = write_python(tmp_path / "python", ONE_DIES.format(end=end))
    began = time.monotonic()
    result = launch(SCRIPT, CONFIG, NUM_PROCESSES=3, GRACE_SECONDS=1, PYTHON=program)
    assert time.monotonic() - began < 30
    assert result.code == 1
    assert result.error == (f"error: process 1 of 3 ended {how}, so the others were ended; its lines are marked [1]"), (
        result.err
    )
    assert "[1] the disk is gone\n" in result.out
    # Nothing is left of the others, nor of what the dead one had started.
    pids = Path(f"{program}.pids").read_text().split()
    assert [is_alive(int(pid)) for pid in pids] == [False] * 3


def test_local_multiprocess_waits_for_those_that_finish_later(tmp_path: Path) -> None:
    program = write_python(
        tmp_path / "python", "import sys, time\nif '--process_id=1' in sys.argv: time.sleep(0.5); print('late')"
    )
    result = launch(SCRIPT, CONFIG, PYTHON=program)
    assert (result.code, result.out.splitlines()[1:]) == (0, ["[1] late"])


def test_local_multiprocess_lets_all_save_when_it_is_stopped(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", STOPPABLE)
    with started(["bash", str(LAUNCH / SCRIPT), CONFIG], environment(PYTHON=program)) as running:
        assert "--for_devices=8" in read_line(running)
        assert {read_line(running) for _ in range(2)} == {"[0] training\n", "[1] training\n"}
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=15)
        assert "[0] saved\n" in out
        assert "[1] saved\n" in out
        assert running.returncode == 143


def test_local_multiprocess_dry_run_starts_nothing(tmp_path: Path) -> None:
    program = write_python(tmp_path / "python", f"open({str(tmp_path / 'ran')!r}, 'w')")
    result = launch(SCRIPT, CONFIG, "--dry_run", NUM_PROCESSES=2, PYTHON=program)
    assert result.code == 0
    assert [flags_of(command)["process_id"] for command in result.commands[1:]] == ["0", "1"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NUM_PROCESSES": "two"}, ["NUM_PROCESSES is 'two'", "1 to 999"]),
        ({"NUM_PROCESSES": "0"}, ["NUM_PROCESSES is '0'"]),
        ({"PLATFORM": "tpu"}, ["PLATFORM is 'tpu'", "cpu or cuda"]),
        ({"PORT": "80 80"}, ["PORT is '80 80'"]),
        ({"PYTHON": "/no/such/python"}, ["/no/such/python", "set PYTHON"]),
    ],
    ids=["word", "zero", "platform", "port", "python"],
)
def test_local_multiprocess_refuses_mistakes(variables: dict[str, Any], words: list[str]) -> None:
    assert_refused(launch(SCRIPT, CONFIG, **variables), *words)


def test_local_multiprocess_refuses_to_start_without_a_configuration() -> None:
    assert_refused(launch(SCRIPT, "--workdir=x"), "--config is missing")
