"""Real processes that train together on this machine, and small programs that only meet."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.training.multiprocess.forked import Member

ROOT = Path(__file__).resolve().parents[3]
DEVICES = 4
COMPILE_FAST = "--xla_backend_optimization_level=0"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**variables: str) -> dict[str, str]:
    flags = f"{COMPILE_FAST} --xla_force_host_platform_device_count={DEVICES}"
    # The programs of several processes are compiled once.
    cache = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **cache, **variables}


def membership(port: int, index: int, count: int = 2) -> list[str]:
    return [f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}", f"--process_id={index}"]


@dataclasses.dataclass
class Ended:
    """How a process ended: its exit code, what it wrote, and the sentence of ours among it."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def start(arguments: list[str], **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen | Member, seconds: float = 60) -> Ended:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the process did not end within {seconds} s: {out[-2000:]} {err[-2000:]}") from None
    assert process.returncode is not None
    return Ended(process.returncode, out, err)


# A group of processes: `group` is what they know of each other. No device is looked for unless the body does it.
_MEETING = """
import os, signal, sys, time
from inr_gan_jax.cli import command as command_line
from inr_gan_jax.distributed import processes
from inr_gan_jax.errors import MachineError, UserError
from inr_gan_jax.distributed.interruption import RunInterruptedError, StopRequest
def main(arguments):
    with processes.joined(processes.Membership(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), 20) as group:
        index = group.index
        print("joined", flush=True)
{body}
sys.argv, words = sys.argv[:1], sys.argv
command_line.run(lambda arguments: (sys.argv.__setitem__(slice(None), words), main(arguments))[1])
"""


def meet(body: str, count: int = 2) -> list[Member]:
    """Starts processes that join and then run a body of Python that knows `group` and `index`."""
    program = _MEETING.replace("{body}", "\n".join(f"        {line}" for line in body.strip().splitlines()))
    address = f"127.0.0.1:{free_port()}"
    return [Member(program, [address, str(count), str(index)], environment()) for index in range(count)]


def wait_until(
    condition: Callable[[], bool], processes: Sequence[subprocess.Popen | Member], seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise AssertionError(f"ended too early, or never did it: {[each.communicate() for each in processes]}")
        time.sleep(0.02)
