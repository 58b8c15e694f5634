"""What devices send each other in a training step, on meshes of eight devices that this machine pretends to have.

    python -m benchmarks.collectives --config=configs/digits.py:ada --batch=16 \
        --output=benchmarks/results/collectives.json

Read from the compiled program: operations of each kind and the bytes of their results on one device. A branch that is
not taken in every step, such as the lazy penalty, is counted like the rest; with `training.num_microbatches` above 1
the body of the loop would be counted once.
"""

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence

import jax
from absl import flags

from benchmarks.networks import with_batch
from benchmarks.recording import Row, define_output_flag, table, write_record
from inr_gan_jax.cli.command import define_config_flag, run
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config, ShardingConfig
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning.compiled_plan import compile_step


def meshes(texts: Sequence[str]) -> dict[str, tuple[int, ShardingConfig]]:
    """Number of devices and the settings of each mesh.

    Args:
        texts: such as `4x2` (data x spatial) or `2x4+zero`, where the optimizers are split.

    Raises:
        UserError: for a text of another form.
    """
    found = {}
    for text in texts:
        parts = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})(\+zero)?", text)
        if not parts:
            raise UserError(f"--meshes has {text!r}, expected DATAxSPATIAL such as 4x2, or 2x4+zero")
        found[text] = (int(parts[1]) * int(parts[2]), ShardingConfig(int(parts[2]), optimizer=bool(parts[3])))
    return found


def measure(config: Config, num_devices: int, settings: ShardingConfig) -> Row:
    """The collectives of a step on one mesh, by kind."""
    compiled = compile_step(dataclasses.replace(config, sharding=settings), jax.devices()[:num_devices])
    row: Row = {}
    for each in compiled.collectives:
        row |= {each.kind: each.count, f"{each.kind} KiB": each.num_bytes / 1024}
    return row | {"KiB": sum(each.num_bytes for each in compiled.collectives) / 1024}


def markdown(rows: Mapping[str, Row]) -> str:
    """The rows as a table for a page."""
    kinds = sorted({key.removesuffix(" KiB") for row in rows.values() for key in row if "-" in key})
    lines = [["mesh (data x spatial)", *kinds, "together"], ["---"] * (len(kinds) + 2)]
    for name, row in rows.items():
        cells = [f"{row[kind]}, {row[f'{kind} KiB']:,.0f} KiB" if kind in row else "" for kind in kinds]
        lines.append([name, *cells, f"{row['KiB']:,.0f} KiB"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    config = parse_config(values.config)
    config = with_batch(config, values.batch or config.training.batch_size)
    wanted = meshes(values.meshes)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(count for count, _ in wanted.values()))
    rows: dict[str, Row] = {}
    for name, (num_devices, settings) in wanted.items():
        rows[name] = measure(config, num_devices, settings)
        print(f"{name}: done", file=sys.stderr, flush=True)
    print(table(rows), markdown(rows), sep="\n\n")
    write_record(rows, {"config": config.name, "batch_size": config.training.batch_size})


if __name__ == "__main__":
    define_config_flag()
    define_output_flag()
    flags.DEFINE_integer("batch", 0, "Images a batch; those of the configuration by default.", 0)
    flags.DEFINE_list("meshes", ["8x1", "4x2", "2x4+zero", "1x8"], "Data x spatial, one row each.")
    run(main)
