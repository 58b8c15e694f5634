"""Plans a training run by compiling its real step for a machine, which need not be present.

    python -m inr_gan_jax.plan --config=configs/lsun.py --topology=v5e:4x4 --batch=256
    python -m inr_gan_jax.plan --config=configs/digits.py --topology=cpu:8
    python -m inr_gan_jax.plan --config=configs/lsun.py --topology=present

TPU slices need `pip install libtpu` and no TPU. Compiling a network of full width takes minutes, and many more with
--compile_effort=0, which optimises as a run does.
"""

import contextlib
import dataclasses
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from inr_gan_jax.cli.checked_flags import define_float, define_integer
from inr_gan_jax.cli.command import define_config_flag, run
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.errors import UserError

_SECONDS_BETWEEN_LINES = 30.0


def prepare_process(topology: str, effort: float) -> None:
    """Sets the environment variables that JAX reads when it starts.

    Args:
        topology: as typed by the user.
        effort: of the compiler, from -1 to 1.

    Raises:
        UserError: for an impossible number of CPU devices.
    """
    # Otherwise libtpu queries a metadata server that does not exist.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    # Otherwise libtpu locks the chips, and fails while another process, or a killed one, holds the lock.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ["JAX_EXEC_TIME_OPTIMIZATION_EFFORT"] = str(effort)
    cpus = re.fullmatch(r"cpu:(\d+)", topology)
    if cpus:
        if not 1 <= int(cpus[1]) <= 4096:
            raise UserError(f"topology is {topology!r}, expected cpu:1 to cpu:4096")
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_force_host_platform_device_count={cpus[1]}".strip()
    if topology != "present":
        os.environ["JAX_PLATFORMS"] = "cpu"


@contextlib.contextmanager
def report_elapsed_time(label: str) -> Iterator[None]:
    """Prints the elapsed time every half minute: a compiler does not report progress."""
    done = threading.Event()
    started = time.monotonic()

    def report() -> None:
        while not done.wait(_SECONDS_BETWEEN_LINES):
            minutes, seconds = divmod(round(time.monotonic() - started), 60)
            print(f"{label}: {minutes}:{seconds:02d} so far", file=sys.stderr, flush=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    config = parse_config(values.config)
    if values.batch:
        training = dataclasses.replace(config.training, batch_size=values.batch)
        config = dataclasses.replace(config, training=training)
    prepare_process(values.topology, values.compile_effort)
    # Imported here: JAX must not be initialised before the environment is set.
    from inr_gan_jax.planning import compiled_plan
    from inr_gan_jax.planning import report as plan_report

    devices = compiled_plan.devices_of(values.topology)
    with report_elapsed_time(f"compiling for {len(devices)} devices"):
        flops = compiled_plan.flops_of_phases(config)
        plan = compiled_plan.compile_step(config, devices)
    record: dict[str, Any] = plan_report.record_of(config, values.topology, plan, flops, values.efficiency)
    print(plan_report.text_of(record))
    if values.output:
        path = Path(values.output).expanduser()
        try:
            path.write_text(json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error


def define_flags() -> None:
    """Defines the flags of the command."""
    define_config_flag()
    flags.declare_key_flag("config")
    flags.DEFINE_string("topology", "present", "present, cpu:<devices>, or a TPU slice: v5e:4x4, v4:2x2x2, v6e:4x4 ...")
    define_integer("batch", 0, "Images per batch of the whole run; 0: that of the configuration.", 0, 2**24)
    define_float("efficiency", 0.4, "Share of the peak that is assumed to be reached, for the days.", 0.001, 1)
    define_float("compile_effort", -1.0, "Of the compiler, -1 to 1; runs compile with 0.", -1, 1)
    flags.DEFINE_string("output", None, "JSON file to write.")


if __name__ == "__main__":
    define_flags()
    run(main)
