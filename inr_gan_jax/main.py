"""Trains a generator: python -m inr_gan_jax.main --config=configs/digits.py."""

import sys
from collections.abc import Sequence

from absl import flags
from etils import epath

from inr_gan_jax.cli.command import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config.describe import describe_config
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.errors import UserError
from inr_gan_jax.remote_paths import check_reachable

_CONFIG = define_config_flag()
flags.declare_key_flag("config")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run folder, also gs://bucket/folder; runs/<name of the configuration> when not given."
)
_PRINT_CONFIG = flags.DEFINE_boolean("print_config", False, "Print every key with its value and meaning, and stop.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print shapes, counts, memory and the plan; touch no disk.")
_FOR_DEVICES = flags.DEFINE_integer(
    "for_devices", None, "With --dry_run: check that the job fits so many devices in all, data included.", lower_bound=1
)
_FOR_PROCESSES = flags.DEFINE_integer(
    "for_processes", None, "With --for_devices: processes that the devices are divided among.", lower_bound=1
)
_SHARED_DISK = flags.DEFINE_boolean(
    "shared_disk", True, "With --for_devices: whether the job's machines see the folders of this one."
)
_EXPECT = flags.DEFINE_enum("expect", None, ["tpu", "cuda", "cpu"], "Stop if JAX finds devices of another platform.")
_MULTIPROCESS = flags.DEFINE_boolean(
    "multiprocess", False, "Train together with other processes, found by the environment: TPU, Slurm, Open MPI."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where the environment does not say.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together; with --coordinator.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0; with --coordinator.")
_JOIN_SECONDS = flags.DEFINE_integer(
    "join_seconds", 300, "Give up if not all processes have come by then.", lower_bound=1
)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    _check_flags()
    config = parse_config(_CONFIG.value)
    if _PRINT_CONFIG.value:
        print(describe_config(config))
        return
    if not _FOR_DEVICES.value:
        check_reachable(_WORKDIR.value or "", "--workdir")
    workdir = epath.Path(_WORKDIR.value or f"runs/{config.name}").expanduser()
    set_cpu_threads(one_an_operation=config.one_cpu_thread)
    # Imported here, after the threads are set and a wrong configuration has been refused.
    from inr_gan_jax.distributed import devices as found_devices
    from inr_gan_jax.distributed import processes
    from inr_gan_jax.distributed.interruption import StopRequest
    from inr_gan_jax.planning import dry_run, job_check
    from inr_gan_jax.training import loop

    by_hand = processes.Membership(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    by_hand.check()
    if _FOR_DEVICES.value:
        machines = job_check.Machines(_FOR_DEVICES.value, _FOR_PROCESSES.value or 1, _SHARED_DISK.value)
        print(job_check.check_job(config, workdir, machines))
        return
    if _DRY_RUN.value:
        print(dry_run.describe(config, workdir))
        return
    is_among_several = _MULTIPROCESS.value or by_hand.coordinator
    with processes.joined(by_hand if is_among_several else None, _JOIN_SECONDS.value) as group:
        print(found_devices.check_devices(_EXPECT.value), flush=True)
        warning = None if _EXPECT.value else found_devices.silent_fallback()
        if warning:
            print(warning, file=sys.stderr, flush=True)
        stop = StopRequest(group)
        loop.train(config, workdir, group, stop)
    sys.exit(stop.exit_code)


def _check_flags() -> None:
    """Refuses flags without those that they belong to."""
    if _FOR_DEVICES.value and not _DRY_RUN.value:
        raise UserError("--for_devices needs --dry_run: it checks a job, and starts none")
    if _FOR_PROCESSES.value and not _FOR_DEVICES.value:
        raise UserError("--for_processes needs --for_devices, the number of devices that they have together")
    if not _SHARED_DISK.value and not _FOR_DEVICES.value:
        raise UserError("--noshared_disk needs --for_devices, the number of devices of the job")


if __name__ == "__main__":
    run(main, when_stopped="; the same command resumes from the last checkpoint", may_be_remote=("--workdir",))
