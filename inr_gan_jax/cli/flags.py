"""Flags that several commands share, and what they choose: checkpoint, seeds, truncation, weights of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from inr_gan_jax.cli.checked_flags import define_float, define_integer, define_text
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import MAX_SIDE, MEASURES
from inr_gan_jax.inference.latents import (
    MAX_PSI,
    MAX_SEED,
    MAX_SEEDS,
    parse_seeds,
    sample_modulations,
    seeds_text,
)
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS, WeightsOption
from inr_gan_jax.metrics.settings import MetricSettings

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.sampling import Truncation

# So that --help of a command lists the flags defined here.
flags.disclaim_key_flags()

# Of a density or a magnification: no trained image has more pixels along a side.
MIN_FACTOR = 1 / MAX_SIDE
# More than any dataset has, and more codes than any network.
_MAX_CLASSES, _MAX_CODES = 10**6, 1000
# What training calls its run folder.
CHECKPOINT_ALIAS = "workdir"
# Networks of the distances between sets of images.
_MEASURE_NETWORKS = ("squeezenet", "inception")


def define_checkpoint_flag() -> None:
    """Defines --checkpoint."""
    flags.DEFINE_string("checkpoint", None, "Run folder, official .pkl, or weights (.safetensors).", required=True)
    flags.DEFINE_alias(CHECKPOINT_ALIAS, "checkpoint")


def define_output_flag(default: str) -> None:
    """Defines --output, a folder."""
    flags.DEFINE_string("output", default, "Folder for the results; created if missing.")


def define_seed_flags(default: str) -> None:
    """Defines --seeds, --class_index, --truncation_psi and --truncation_cutoff."""
    define_seeds_flag("seeds", default, f"Images to sample, such as 0-63 or 1,5,8-11; up to {MAX_SEED}.")
    define_class_flag()
    define_truncation_flags()


def define_seeds_flag(name: str, default: str, meaning: str) -> None:
    """Defines a flag of a list of seeds, or of other numbers from 0 on; see `parse_seeds`."""
    define_text(name, default, meaning, lambda text: parse_seeds(text, name))


def define_class_flag() -> None:
    """Defines --class_index."""
    meaning = "Class of a conditional generator; by default all classes in turn."
    define_integer("class_index", None, meaning, 0, _MAX_CLASSES)


def define_truncation_flags() -> None:
    """Defines --truncation_psi and --truncation_cutoff."""
    define_float("truncation_psi", 1.0, "Truncation; 1: none, 0: the mean image.", -MAX_PSI, MAX_PSI)
    meaning = "Number of codes to truncate, from the first on; all by default."
    define_integer("truncation_cutoff", None, meaning, 0, _MAX_CODES)


def define_side_flag(name: str, meaning: str) -> None:
    """Defines a flag of a number of pixels along a side."""
    define_integer(name, None, meaning, 1, MAX_SIDE)


def define_num_measured_flag(default_meaning: str) -> None:
    """Defines --num_measured.

    Args:
        default_meaning: what 0, the default, stands for.
    """
    meaning = f"Images to measure: those of --seeds in order, then seeds above the highest; 0: {default_meaning}."
    define_integer("num_measured", 0, meaning, 0, MAX_SEEDS)


def define_measure_flags() -> None:
    """Defines --measure and the flags of the weights that it may need."""
    flags.DEFINE_enum("measure", MEASURES[0], MEASURES, "Fréchet distance of pixels, SqueezeNet or Inception features.")
    define_weights_flags([WEIGHTS_OPTIONS[name] for name in _MEASURE_NETWORKS])


def define_weights_flags(options: Sequence[WeightsOption]) -> None:
    """Defines a flag for each file of weights."""
    for option in options:
        flags.DEFINE_string(option.flag, None, f"Weights file; default: ${option.variable}.")


def load_checkpoint() -> LoadedGenerator:
    """Loads the generator of --checkpoint and uses the run's compilation cache.

    Raises:
        UserError: if it is not a checkpoint.
    """
    import jax

    from inr_gan_jax.inference.loading import load_generator

    loaded = load_generator(flags.FLAGS.checkpoint)
    if loaded.config is not None and loaded.config.compilation_cache_dir:
        cache = str(Path(loaded.config.compilation_cache_dir).expanduser())
        jax.config.update("jax_compilation_cache_dir", cache)
    return loaded


def chosen_seeds() -> tuple[int, ...]:
    """The seeds of --seeds.

    Raises:
        UserError: if it is not a list of seeds.
    """
    return parse_seeds(flags.FLAGS.seeds)


def measured_seeds() -> tuple[int, ...]:
    """The seeds of the images that tables describe: those of --seeds, or --num_measured of them and more.

    Raises:
        UserError: if there are not enough seeds above the highest one.
    """
    seeds = chosen_seeds()
    count = flags.FLAGS.num_measured or len(seeds)
    first = max(seeds) + 1
    most = len(seeds) + MAX_SEED + 1 - first
    if count > most:
        raise UserError(
            f"--num_measured is {count}, expected at most {most}: the images of --seeds and of all seeds above the "
            "highest of them"
        )
    return (*seeds[:count], *range(first, first + count - len(seeds)))


def chosen_truncation() -> Truncation:
    """The truncation of --truncation_psi and --truncation_cutoff."""
    from inr_gan_jax.sampling import Truncation

    return Truncation(flags.FLAGS.truncation_psi, flags.FLAGS.truncation_cutoff)


def chosen_modulations(loaded: LoadedGenerator, seeds: Sequence[int] | None = None) -> Modulation:
    """Images as INRs with a leading axis, of the class and truncation that the flags choose.

    Args:
        loaded: the generator.
        seeds: of the images; None for --seeds.

    Raises:
        UserError: for seeds, a class or a truncation that the generator does not support.
    """
    seeds = chosen_seeds() if seeds is None else seeds
    return sample_modulations(loaded, seeds, flags.FLAGS.class_index, chosen_truncation())


def sampling_record(seeds: Sequence[int]) -> dict[str, Any]:
    """Which images a table describes, for the record."""
    values = flags.FLAGS
    return {
        "num_measured": len(seeds),
        "measured_seeds": seeds_text(seeds),
        "class_index": values.class_index,
        "truncation_psi": values.truncation_psi,
        "truncation_cutoff": values.truncation_cutoff,
    }


def chosen_settings() -> MetricSettings:
    """The settings of --measure: the weights files that the flags name."""
    given = {name: flags.FLAGS[WEIGHTS_OPTIONS[name].flag].value for name in _MEASURE_NETWORKS}
    return MetricSettings(weights={name: path for name, path in given.items() if path})
