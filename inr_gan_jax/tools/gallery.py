"""The sheets of a run: samples, super-resolution, densification rules and zoom-out of the same images.

python -m inr_gan_jax.tools.gallery --workdir=runs/digits     # or --checkpoint, as in the other tools
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import save_picture
from inr_gan_jax.inference.latents import MAX_SEED

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator

_NUM_SAMPLES = 100
_MAX_FIRST_SEED = MAX_SEED + 1 - _NUM_SAMPLES


def advice(loaded: LoadedGenerator, workdir: Path, names: Sequence[str], seed: int) -> str:
    """Three lines on what to look at and what to try next."""
    from inr_gan_jax.inference.gallery import LARGE_SIDE
    from inr_gan_jax.inference.sheets import magnification

    lines = [f"{workdir}: look at {', '.join(names)}."]
    assert loaded.config is not None, "a run folder holds its configuration"
    if loaded.generator.is_continuous:
        factor = magnification(loaded.generator.size, LARGE_SIDE)
        lines.append(
            f"Each pair of super_resolution.png is one set of weights, rendered at the trained size and {factor} times "
            "more densely; zoom_out.png shows the same networks beyond their trained border, in red."
        )
    else:
        lines.append("This network renders its trained image only; super-resolution and zoom-out need another one.")
    next_seed = seed + _NUM_SAMPLES if seed + _NUM_SAMPLES <= _MAX_FIRST_SEED else 0
    last = f"Try next: --seed={next_seed} here for other images"
    if (workdir / "training.png").exists():
        total = f"--config.training.total_kimg={2 * loaded.config.training.total_kimg:g}"
        last += f"; training.png for the curve; {total} on the training command to continue"
    return "\n".join([*lines, f"{last}."])


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.gallery import gallery
    from inr_gan_jax.inference.loading import load_run

    workdir = Path(flags.FLAGS.workdir).expanduser()
    loaded = load_run(workdir)
    names = []
    for name, sheet in gallery(loaded, flags.FLAGS.seed):
        save_picture(workdir / name, sheet)
        names.append(name)
    print(advice(loaded, workdir, names, flags.FLAGS.seed))


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Run folder.", required=True)
    flags.DEFINE_alias("checkpoint", "workdir")
    define_integer("seed", 0, "Seed of the first image.", 0, _MAX_FIRST_SEED)


if __name__ == "__main__":
    define_flags()
    run(main)
