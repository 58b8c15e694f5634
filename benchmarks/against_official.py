"""Our code and the official PyTorch code on the same machine, taking turns in one run.

    git clone https://github.com/universome/inr-gan official && python -m venv torch-venv
    torch-venv/bin/pip install torch numpy omegaconf click requests tqdm firelab pyyaml
    python -m benchmarks.against_official --official=official --torch_python=torch-venv/bin/python \
        --output=benchmarks/results/against_official.json

Tasks: the generator from z to 256x256 at full width; the paper's original generator of 256x256 rendered at 512x512; and
a training step at 64x64 at full width, batch 8, where the time of the lazy R1 penalty is spread over its sixteen
steps. Each side is a process of its own, and so is its memory.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import jax

_R1_INTERVAL = 16
_TASKS = ("render:1", "render:4", "super_resolve:512", "train:plain", "train:lazy")
_BATCH = 8


class Worker:
    """A process that does one task whenever it is told to.

    Args:
        command: that starts it.
        log: where its other output goes.
    """

    def __init__(self, command: list[str], log: TextIO) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
        )

    def __call__(self) -> dict[str, float]:
        """Does the task once: {"seconds", "peak_mib"}."""
        assert self._process.stdin is not None, "asked for above"
        assert self._process.stdout is not None, "asked for above"
        self._process.stdin.write("\n")
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads(line)
        raise RuntimeError(f"the worker ended with code {self._process.wait()}, see its output")

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def measure(task: str, official: pathlib.Path, torch_python: str, turns: int) -> dict[str, Any]:
    """Seconds and peak memory of both sides, one turn after the other; the first turn warms up and compiles."""
    commands = {
        "official": [torch_python, str(pathlib.Path(__file__).with_name("torch_worker.py")), str(official), task],
        "ours": [sys.executable, "-m", "benchmarks.jax_worker", task],
    }
    seconds: dict[str, list[float]] = {side: [] for side in commands}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryFile("w+") as log, _running(commands, log) as workers:
        for turn in range(turns + 1):
            for side, worker in workers.items():
                answer = worker()
                peaks[side] = answer["peak_mib"]
                if turn:
                    seconds[side].append(answer["seconds"])
            print(f"{task}, turn {turn} of {turns}", file=sys.stderr, flush=True)
    ratios = [theirs / ours for theirs, ours in zip(seconds["official"], seconds["ours"], strict=True)]
    return {
        "seconds": seconds,
        "median_seconds": {side: statistics.median(each) for side, each in seconds.items()},
        "speed_up": statistics.median(ratios),
        "speed_up_range": [min(ratios), max(ratios)],
        "peak_mib": peaks,
        "memory_ratio": peaks["ours"] / peaks["official"],
    }


@contextlib.contextmanager
def _running(commands: Mapping[str, list[str]], log: TextIO) -> Iterator[dict[str, Worker]]:
    workers = {side: Worker(command, log) for side, command in commands.items()}
    try:
        yield workers
    except RuntimeError:
        log.seek(0)
        print(log.read()[-3000:], file=sys.stderr)
        raise
    finally:
        for worker in workers.values():
            worker.close()


def amortised(plain: Mapping[str, Any], lazy: Mapping[str, Any]) -> dict[str, Any]:
    """A training step with the penalty spread over the steps between two of it."""
    seconds = {
        side: (plain["median_seconds"][side] * (_R1_INTERVAL - 1) + lazy["median_seconds"][side]) / _R1_INTERVAL
        for side in ("official", "ours")
    }
    return {
        "median_seconds": seconds,
        "images_per_second": {side: _BATCH / each for side, each in seconds.items()},
        "speed_up": seconds["official"] / seconds["ours"],
        "memory_ratio": lazy["memory_ratio"],
    }


def main() -> None:
    """Measures, and prints or stores the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=pathlib.Path, required=True, help="checkout of the official code")
    parser.add_argument("--torch_python", required=True, help="interpreter that has torch and omegaconf")
    parser.add_argument("--tasks", nargs="*", default=_TASKS, help="tasks to measure")
    parser.add_argument("--turns", type=int, default=5, help="turns of each side after the first")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to write")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    results = {task: measure(task, options.official, options.torch_python, options.turns) for task in options.tasks}
    if {"train:plain", "train:lazy"} <= results.keys():
        results["train, amortised"] = amortised(results["train:plain"], results["train:lazy"])
    machine = {"cores": len(os.sched_getaffinity(0)), "load_before": load_before, "load_after": os.getloadavg()[0]}
    versions = {"python": platform.python_version(), "jax": jax.__version__}
    text = json.dumps({"machine": machine, "versions": versions, "results": results}, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
