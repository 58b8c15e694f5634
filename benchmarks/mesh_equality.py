"""Twenty steps of the demo's network on meshes of eight CPU devices, in one process and in two, against one device.

    python -m benchmarks.mesh_equality --output=benchmarks/results/mesh_equality.json

Minibatch standard deviation, lazy R1, ADA and two microbatches are on. Groups of rows, of which --groups takes some:

    double       float64
    single       float32, with two controls on one device: other initial parameters by one unit in the last place, and
                 a program that the compiler did not optimise

A run is a process (or two) of its own. What --folder holds already is not done again.
"""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from absl import flags

from benchmarks.mesh_worker import STEPS, Run
from benchmarks.recording import Row, define_output_flag, table, write_record
from inr_gan_jax.cli.command import run as run_command
from inr_gan_jax.errors import UserError

_BAR = 1e-6
# A typical gradient that differs by more than so much of its tensor's maximum has not been rounded otherwise only.
_JUMP = 1e-5
Arrays = Mapping[str, np.ndarray]


def meshes(run: Run, num_processes: int = 1) -> dict[str, Run]:
    """A run on every mesh of eight devices."""
    found = {}
    for data, spatial in ((8, 1), (4, 2), (2, 4), (1, 8)):
        name = f"{data}x{spatial}" + (", split optimizers" if data == 2 else "")
        name += f", {num_processes} processes" if num_processes > 1 else ""
        found[name] = dataclasses.replace(
            run, data=data, spatial=spatial, splits_optimizer=data == 2, num_processes=num_processes
        )
    return found


def groups() -> dict[str, tuple[Run, dict[str, Run]]]:
    """By name: the run on one device, and those that are compared with it."""
    double, single = Run(is_double=True), Run()
    controls = {
        "1x1, nudged": dataclasses.replace(single, is_nudged=True),
        "1x1, not optimised": dataclasses.replace(single, level=0),
    }
    return {
        "double": (double, meshes(double) | meshes(double, 2)),
        "single": (single, meshes(single) | meshes(single, 2) | controls),
    }


def trained(run: Run, folder: pathlib.Path) -> pathlib.Path:
    """The file of a run, which is made if it is not there.

    Raises:
        UserError: if a process fails; its output stands above.
    """
    words = {name: value for name, value in dataclasses.asdict(run).items() if value != getattr(Run, name)}
    file = folder / ("-".join(["run", *(f"{name}={value}" for name, value in words.items())]) + ".npz")
    if file.exists():
        return file
    devices = f"--xla_force_host_platform_device_count={max(1, run.num_devices // run.num_processes)}"
    settings = f"{devices} --xla_backend_optimization_level={run.level} --xla_cpu_multi_thread_eigen=false"
    environment = {
        **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": settings,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
    }  # fmt: skip
    unfinished = file.with_suffix(".unfinished.npz")
    command = [sys.executable, "-m", "benchmarks.mesh_worker", json.dumps(words), str(unfinished)]
    if run.num_processes == 1:
        running = [subprocess.Popen(command, env=environment)]
    else:
        port = str(_free_port())
        running = [
            subprocess.Popen([*command, port, str(index)], env=environment) for index in range(run.num_processes)
        ]
    if any([process.wait() for process in running]):
        raise UserError(f"a run of {words or 'one device'} failed; its output stands above")
    unfinished.rename(file)
    return file


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def compared(one: Arrays, other: Arrays) -> Row:
    """How far a run is from that of one device, after each step and at the end.

    Args:
        one: what `mesh_worker.train` returned for one device.
        other: the same of the run.
    """
    steps = [_compared_at(step, one, other) for step in range(1, STEPS + 1)]
    last = _differences(STEPS, one, other, "parameters")
    everything = np.concatenate([each.ravel() for each in last.values()])
    quantiles = {f"quantile {share}": float(np.quantile(everything, share)) for share in (0.5, 0.99, 0.999)}
    jumps = [number for number, step in enumerate(steps, 1) if step["typical gradient"] > _JUMP]
    moved = max(np.abs(each[-1] - each[0]).max() for name, each in one.items() if name.startswith("parameters"))
    return {
        "largest": steps[-1]["largest"],
        "largest of any step": max(step["largest"] for step in steps),
        "beyond 1e-6": steps[-1]["beyond 1e-6"],
        **quantiles,
        "after step 1": steps[0]["largest"],
        "gradients of step 1": steps[0]["typical gradient"],
        "first jump": jumps[0] if jumps else None,
        "moved": float(moved),
        "is within 1e-6": steps[-1]["largest"] <= _BAR,
        "steps": steps,
    }


def _differences(step: int, one: Arrays, other: Arrays, kind: str) -> dict[str, np.ndarray]:
    return {name: np.abs(one[name][step] - other[name][step]) for name in one if name.startswith(kind)}


def _compared_at(step: int, one: Arrays, other: Arrays) -> Row:
    """Largest difference of a parameter, share of them beyond the bar, and gradients relative to their tensors."""
    parameters = _differences(step, one, other, "parameters")
    count = sum(each.size for each in parameters.values())
    gradients = {
        name: float(each.max() / max(np.abs(one[name][step]).max(), np.finfo(np.float32).tiny))
        for name, each in _differences(step, one, other, "gradients").items()
    }
    worst = max(parameters, key=lambda name: parameters[name].max())
    worst_gradient = max(gradients, key=lambda name: gradients[name])
    return {
        "largest": float(parameters[worst].max()),
        "largest of": worst,
        "beyond 1e-6": sum(int(np.sum(each > _BAR)) for each in parameters.values()) / count,
        "typical gradient": float(np.median(list(gradients.values()))),
        "largest gradient": gradients[worst_gradient],
        "largest gradient of": worst_gradient,
    }


def measure(wanted: Sequence[str], folder: pathlib.Path) -> dict[str, Row]:
    """The rows of some groups."""
    rows = {}
    for group in wanted:
        reference, runs = groups()[group]
        one = _read(trained(reference, folder))
        for name, run in runs.items():
            row = f"{group}: {name}"
            rows[row] = compared(one, _read(trained(run, folder)))
            print(f"{row}: {rows[row]['largest']:.1e}", file=sys.stderr, flush=True)
    return rows


def _read(path: pathlib.Path) -> Arrays:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    jax.config.update("jax_platforms", "cpu")
    unknown = set(values.groups) - set(groups())
    if unknown:
        raise UserError(f"--groups has {', '.join(sorted(unknown))}, expected some of {', '.join(groups())}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(values.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = measure(values.groups, folder)
    print(table(rows))
    write_record(rows, {"config": Run().config().name, "steps": STEPS, "bar": _BAR})


if __name__ == "__main__":
    define_output_flag()
    flags.DEFINE_list("groups", list(groups()), "Groups of rows.")
    flags.DEFINE_string("folder", None, "Where runs are kept, 3 GB for all; a temporary one when not given.")
    run_command(main)
