"""Memory of a training step on the devices that are here, as the compiler plans it; nothing is run.

    python -m benchmarks.memory --config=configs/lsun.py:church,release --batches=8,16,32 \
        --output=benchmarks/results/memory.json

One row for each batch, with and without rematerialisation. For other machines see `python -m inr_gan_jax.plan`.
"""

import dataclasses
from collections.abc import Sequence

import jax
from absl import flags

from benchmarks.networks import with_batch
from benchmarks.recording import Row, define_record_flags, finish, whole_numbers
from inr_gan_jax.cli.command import define_config_flag, run, set_cpu_threads
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.planning.compiled_plan import compile_step


def measure(config: Config, remat: bool) -> Row:
    """One row, in MiB a device."""
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, remat=remat))
    plan = compile_step(config, jax.devices()[: config.num_devices or None])
    memory = {name: value / 2**20 for name, value in dataclasses.asdict(plan.memory).items() if value is not None}
    return {**memory, "total": plan.memory.total / 2**20}


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    config = parse_config(values.config)
    batches = whole_numbers("batches") or [config.training.batch_size]
    set_cpu_threads(one_an_operation=config.one_cpu_thread)
    rows = {}
    for batch in batches:
        for remat in (False, True):
            rows[f"{batch}, remat" if remat else str(batch)] = measure(with_batch(config, batch), remat)
    finish(rows, {"config": config.name, "precision": config.training.precision, "unit": "MiB a device"})


if __name__ == "__main__":
    define_config_flag()
    define_record_flags()
    flags.DEFINE_list("batches", [], "Images a step; that of the configuration by default.")
    run(main)
