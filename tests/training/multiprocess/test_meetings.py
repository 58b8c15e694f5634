"""Processes that meet, agree and end together, without a device: each program takes about a second."""

import re
import signal
import time
from pathlib import Path

import pytest

from inr_gan_jax.distributed.devices import silent_fallback
from inr_gan_jax.distributed.processes import Membership, Processes
from inr_gan_jax.distributed.watch import TurnGate
from inr_gan_jax.errors import UserError
from tests.training.multiprocess.forked import Member
from tests.training.multiprocess.groups import Ended, finish, free_port, meet, start

pytestmark = pytest.mark.slow


def ended(processes: list[Member]) -> list[Ended]:
    return [finish(process) for process in processes]


def joined(process: Member) -> None:
    assert process.line() == "joined\n"


def test_results_of_the_first_and_of_all_reach_everyone() -> None:
    body = """
print(group.broadcast_from_primary("count", lambda: {"who": index}), group.gather_from_all("count", lambda: index * 10))
print(group.broadcast_from_primary("count", lambda: float("nan")))
"""
    for end in ended(meet(body)):
        assert (end.code, end.out) == (0, "joined\n{'who': 0} [0, 10]\nnan\n"), end


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            'group.broadcast_from_primary("look", lambda: (_ for _ in ()).throw(UserError("wrong folder")))',
            2,
            "wrong folder",
        ),
        (
            """
def work():
    if index == 1: raise UserError("no such set")
group.gather_from_all("open", work)
""",
            2,
            "no such set",
        ),
        (
            """
if index == 1: raise MachineError("the disk is full")
group.gather_from_all("save", lambda: None)
""",
            3,
            "the disk is full",
        ),
    ],
    ids=["first", "all", "alone"],
)
def test_an_error_of_one_ends_all_with_its_sentence_and_code(body: str, code: int, words: str) -> None:
    for end in ended(meet(body)):
        assert end.code == code, end
        assert words in end.error


def test_an_unknown_error_of_one_ends_the_others_and_names_it() -> None:
    first, second = ended(meet('if index == 1: raise OSError("socket is gone")\ntime.sleep(60)'))
    assert (first.code, second.code) == (3, 1)
    assert first.error.startswith("error: process 1 of 2 ended: OSError: socket is gone; the same command resumes")
    assert "Traceback" in second.err


def test_a_killed_coordinator_is_named_although_the_runtime_aborts() -> None:
    processes = meet("time.sleep(120)")
    for process in processes:
        joined(process)
    processes[0].kill()
    end = finish(processes[1], seconds=20)
    assert end.code == 3
    assert "process 0 of 2, which coordinates" in end.error
    processes[0].communicate()


def test_a_coordinator_that_cannot_be_reached_is_one_sentence() -> None:
    program = (
        "from inr_gan_jax import processes\nwith processes.joined(processes.Membership('127.0.0.1:{}', 2, 1), 2): pass"
    )
    end = finish(start(["-c", program.format(free_port())]))
    assert end.code == 3
    assert "process 1 of 2 did not find all others within" in end.error
    assert "cannot be reached" in end.error


STOPPING = """
with StopRequest(group) as stop:
    step = 0
    while step < 10_000 and stop.may_begin():
        time.sleep(0.003 * (1 + index))
        step += 1
        stop.note_progress()
        # What a step needs of the others: nobody is far ahead.
        group.gather_from_all("step", lambda: None)
        if step == 20: print("trains", flush=True)
    print("stopped at", step, stop.is_requested)
"""


def test_sigterm_to_one_stops_all_at_the_same_step() -> None:
    processes = meet(STOPPING)
    for process in processes:
        joined(process)
        process.line()
    began = time.monotonic()
    processes[1].send_signal(signal.SIGTERM)
    first, second = ended(processes)
    assert time.monotonic() - began < 30
    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.out == second.out
    assert re.fullmatch(r"joined\ntrains\nstopped at \d+ True\n", first.out)


def test_sigterm_before_the_first_step_ends_all_at_once() -> None:
    processes = meet("with StopRequest(group) as stop:\n    print('compiles', flush=True)\n    time.sleep(60)")
    for process in processes:
        joined(process)
        process.line()
    processes[1].send_signal(signal.SIGTERM)
    first, second = ended(processes)
    assert (first.code, second.code) == (0, 0), (first, second)
    assert "nothing is lost" in first.out


def test_a_process_that_does_not_come_is_named() -> None:
    body = """
if index == 1: time.sleep(8)
else: group.gather_from_all("open the set", lambda: None, seconds=1)
"""
    first, second = ended(meet(body))
    assert (first.code, second.code) == (3, 3)
    assert first.error == "error: process 1 of 2 did not open the set within 1 s"
    assert "process 0 of 2 ended: process 1 of 2 did not open the set within 1 s" in second.error


def test_gate_holds_the_turn_that_is_agreed_upon() -> None:
    gate = TurnGate()
    assert [gate.may_begin() for _ in range(3)] == [True] * 3
    assert gate.propose() == 3
    gate.agree(5)
    assert [gate.may_begin() for _ in range(3)] == [True, True, False]


def test_a_process_on_its_own_needs_nobody() -> None:
    alone = Processes()
    assert alone.is_primary
    assert alone.broadcast_from_primary("work", lambda: 1) == 1
    assert alone.gather_from_all("work", lambda: 2) == [2]


@pytest.mark.parametrize(
    ("membership", "words"),
    [
        (Membership("10.0.0.2:80", 2), "belong together"),
        (Membership("10.0.0.2", 2, 0), "--coordinator is '10.0.0.2', expected HOST:PORT"),
        (Membership("10.0.0.2:99999", 2, 0), "expected HOST:PORT"),
        (Membership("10.0.0.2:80", 2, 2), "--process_id is 2, expected 0 to 1"),
    ],
)
def test_impossible_memberships_are_refused(membership: Membership, words: str) -> None:
    with pytest.raises(UserError, match=words):
        membership.check()


def test_another_platform_than_expected_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    main = ["-m", "inr_gan_jax.main", "--config=configs/digits.py", f"--workdir={workdir}", "--expect=tpu"]
    end = finish(start(main))
    assert (end.code, workdir.exists()) == (2, False), end
    assert "--expect=tpu, but JAX found 4 cpu devices" in end.error


NO_ENVIRONMENT = """
from inr_gan_jax.cli import command as command_line
from inr_gan_jax.distributed import processes
def main(arguments):
    with processes.joined(processes.Membership()): pass
command_line.run(main)
"""
NO_DEVICE = """
from inr_gan_jax.distributed import devices as found_devices
command_line.run(lambda arguments: print(found_devices.check_devices("tpu")))
"""


@pytest.mark.parametrize(
    ("program", "platform", "words"),
    [
        (NO_ENVIRONMENT, "cpu", "--multiprocess finds neither a TPU slice nor Slurm, Open MPI"),
        (NO_DEVICE, "tpu", "no tpu device was found"),
    ],
    ids=["environment", "device"],
)
def test_what_is_not_found_is_one_sentence(program: str, platform: str, words: str) -> None:
    end = finish(start(["-c", program], JAX_PLATFORMS=platform))
    assert end.code == 2, end
    assert words in end.error


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TPU_NAME": "slice"}, "warning: TPU_NAME is set, but JAX found no tpu device and computes on the CPU"),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "--expect=cuda makes this an error"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, None),
        ({"TPU_NAME": "slice", "JAX_PLATFORMS": "cpu"}, None),
    ],
)
def test_a_silent_fall_back_to_the_cpu_is_a_warning(variables: dict[str, str], words: str | None) -> None:
    warning = silent_fallback(variables)
    assert warning == words or words in str(warning)
