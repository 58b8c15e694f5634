"""Trains a generator: python -m inr_gan_jax.main --config=configs/digits.py."""

import sys
from collections.abc import Sequence

from absl import flags
from etils import epath

from inr_gan_jax.command_line import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config import Config
from inr_gan_jax.remote_paths import check_reachable

_CONFIG = define_config_flag()
flags.declare_key_flag("config")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run folder, also gs://bucket/folder; runs/<name of the configuration> when not given."
)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print shapes, counts, memory and the plan; touch no disk.")
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
    config = Config.from_config_dict(_CONFIG.value)
    check_reachable(_WORKDIR.value or "", "--workdir")
    workdir = epath.Path(_WORKDIR.value or f"runs/{config.name}").expanduser()
    set_cpu_threads(one_an_operation=config.one_cpu_thread)
    # Imported here, after the threads are set and a wrong configuration has been refused in no time.
    from inr_gan_jax import found_devices, processes
    from inr_gan_jax.training import dry_run, loop
    from inr_gan_jax.training.interruption import StopRequest

    by_hand = processes.Membership(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    by_hand.check()
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


if __name__ == "__main__":
    run(main, when_stopped="; the same command resumes from the last checkpoint", may_be_remote=("--workdir",))
