"""Trains a generator: python -m inr_gan_jax.main --config=configs/digits.py."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from inr_gan_jax.command_line import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config import Config

_CONFIG = define_config_flag()
flags.declare_key_flag("config")
_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; runs/<name of the configuration> when not given.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Print shapes, counts, memory and the plan; touch no disk.")


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    config = Config.from_config_dict(_CONFIG.value)
    workdir = Path(_WORKDIR.value or f"runs/{config.name}").expanduser()
    set_cpu_threads(one_an_operation=config.one_cpu_thread)
    # Imported here, after the threads are set and a wrong configuration has been refused in no time.
    from inr_gan_jax.training import dry_run, loop

    if _DRY_RUN.value:
        print(dry_run.describe(config, workdir))
        return
    loop.train(config, workdir)


if __name__ == "__main__":
    run(main, when_stopped="; the same command goes on from the last checkpoint")
