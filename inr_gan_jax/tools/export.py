"""Writes a generator, or one of its images, to files for other programs.

    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --weights=digits.safetensors
    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --stablehlo=digits.stablehlo --rule=pointwise
    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --inr=image.inr.safetensors --seeds=3

--weights: settings and variables, which every tool accepts as --checkpoint. --stablehlo: a program from z to images of
any size that needs only JAX; a .json next to it describes the call. --inr: one image as a self-contained network.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_record
from inr_gan_jax.cli.viewport_flags import chosen_rule, define_rule_flag
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import INR_SUFFIX, WEIGHTS_SUFFIXES


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    weights, stablehlo, inr = _checked_paths()
    from inr_gan_jax.inference.inr_file import save_inr
    from inr_gan_jax.inference.latents import select
    from inr_gan_jax.inference.loading import save_generator
    from inr_gan_jax.inference.stablehlo import save_stablehlo

    loaded = options.load_checkpoint()
    folder = output_folder(flags.FLAGS.output)
    for path in filter(None, (weights, stablehlo, inr)):
        output_folder(path.parent)
    record: dict[str, Any] = {}
    if weights:
        save_generator(weights, loaded)
        record["weights"] = {"file": str(weights), "bytes": weights.stat().st_size}
    if inr:
        save_inr(inr, loaded, select(options.chosen_modulations(loaded), 0))
        record["inr"] = {"file": str(inr), "bytes": inr.stat().st_size}
    if stablehlo:
        rule = None if flags.FLAGS.rule == "auto" else chosen_rule(loaded.generator)
        description = save_stablehlo(stablehlo, loaded, rule, options.chosen_truncation())
        record["stablehlo"] = {"file": str(stablehlo), **description}
    save_record(folder, "export", loaded, record)
    for name, entry in record.items():
        print(f"{name}: {entry['file']}, {entry['bytes']:,} bytes")


def _checked_paths() -> list[Path | None]:
    """The files to write, checked as far as possible before anything is loaded."""
    values = [flags.FLAGS[name].value for name in ("weights", "stablehlo", "inr")]
    paths = [Path(value).expanduser() if value else None for value in values]
    if not any(paths):
        raise UserError("nothing to write, expected --weights=FILE, --stablehlo=FILE or --inr=FILE")
    weights, stablehlo, inr = paths
    if weights and weights.suffix not in WEIGHTS_SUFFIXES:
        raise UserError(f"--weights is {weights}, expected it to end in {' or '.join(WEIGHTS_SUFFIXES)}")
    if inr and not inr.name.endswith(INR_SUFFIX):
        raise UserError(f"--inr is {inr}, expected it to end in {INR_SUFFIX}")
    if inr and len(options.chosen_seeds()) != 1:
        raise UserError(f"--inr is one image, but --seeds has {len(options.chosen_seeds())}")
    if stablehlo:
        from inr_gan_jax.inference.stablehlo import check_flatbuffers

        check_flatbuffers()
    return paths


def define_flags() -> None:
    """Defines the flags of the command."""
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/export")
    flags.DEFINE_string("weights", None, "File to write the generator to, .safetensors or .npz.")
    flags.DEFINE_string("stablehlo", None, "File to write a program to, for CPU, CUDA and TPU.")
    flags.DEFINE_string("inr", None, f"File to write one image to, {INR_SUFFIX}.")
    options.define_seed_flags("0")
    define_rule_flag("Densification rule of the program.")


if __name__ == "__main__":
    define_flags()
    run(main)
