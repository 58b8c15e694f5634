"""What the tools' commands share: flags, checks that come before any work, and the record of what was done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from PIL import Image

import inr_gan_jax
from inr_gan_jax.cli.checked_flags import define_float, define_integer, define_text
from inr_gan_jax.cli.command import own_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import (
    MAX_PSI,
    MAX_SEED,
    MAX_SEEDS,
    parse_seeds,
    sample_modulations,
    seeds_text,
)
from inr_gan_jax.progress import Progress

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.sampling import Truncation

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()

# A picture that is held in memory as a whole; `tile` draws larger ones.
MAX_PIXELS = 2**28
MAX_SIDE = 2**20
# Of a density or an enlargement: no trained picture has more pixels along a side.
MIN_FACTOR = 1 / MAX_SIDE
# More than any data set has, and more codes than any network.
_MAX_CLASSES, _MAX_CODES = 10**6, 1000
RECORD_FILE = "record.json"
# As training calls its run folder.
_CHECKPOINT_ALIAS = "workdir"


def define_checkpoint_flag() -> None:
    """Defines --checkpoint."""
    flags.DEFINE_string("checkpoint", None, "Run folder, official .pkl, or weights (.safetensors).", required=True)
    flags.DEFINE_alias(_CHECKPOINT_ALIAS, "checkpoint")


def define_output_flag(default: str) -> None:
    """Defines --output, a folder."""
    flags.DEFINE_string("output", default, "Folder for the results; made when it is not there.")


def define_seed_flags(default: str) -> None:
    """Defines --seeds, --class_index, --truncation_psi and --truncation_cutoff."""
    define_seeds_flag("seeds", default, f"Images to sample, such as 0-63 or 1,5,8-11; up to {MAX_SEED}.")
    define_class_flag()
    define_truncation_flags()


def define_seeds_flag(name: str, default: str, meaning: str) -> None:
    """Defines a flag of a list of seeds, or of other numbers from 0 on; see `codes.parse_seeds`."""
    define_text(name, default, meaning, lambda text: parse_seeds(text, name))


def define_class_flag() -> None:
    """Defines --class_index."""
    meaning = "Class of a conditional generator; all in turn by default."
    define_integer("class_index", None, meaning, 0, _MAX_CLASSES)


def define_truncation_flags() -> None:
    """Defines --truncation_psi and --truncation_cutoff."""
    define_float("truncation_psi", 1.0, "Truncation; 1: none, 0: the mean image.", -MAX_PSI, MAX_PSI)
    meaning = "Codes to truncate, from the first on; all by default."
    define_integer("truncation_cutoff", None, meaning, 0, _MAX_CODES)


def define_side_flag(name: str, meaning: str) -> None:
    """Defines a flag of a number of pixels along a side."""
    define_integer(name, None, meaning, 1, MAX_SIDE)


def load_checkpoint() -> LoadedGenerator:
    """Loads what --checkpoint names, and keeps compiled programs where the run keeps them.

    Raises:
        UserError: if it is no checkpoint.
    """
    import jax

    from inr_gan_jax.inference.loading import load_generator

    loaded = load_generator(flags.FLAGS.checkpoint)
    if loaded.config is not None and loaded.config.compilation_cache_dir:
        cache = str(Path(loaded.config.compilation_cache_dir).expanduser())
        jax.config.update("jax_compilation_cache_dir", cache)
    return loaded


def chosen_seeds() -> tuple[int, ...]:
    """What --seeds says.

    Raises:
        UserError: if it is no list of seeds.
    """
    return parse_seeds(flags.FLAGS.seeds)


def define_num_measured_flag(without: str) -> None:
    """Defines --num_measured.

    Args:
        without: what happens when it is 0, the default.
    """
    meaning = f"Images to measure: those of --seeds in their order, then seeds above the highest; 0: {without}."
    define_integer("num_measured", 0, meaning, 0, MAX_SEEDS)


def measured_seeds() -> tuple[int, ...]:
    """The images that tables are of: those of --seeds, or as many as --num_measured says.

    Raises:
        UserError: if there are not as many seeds above the highest one.
    """
    seeds = chosen_seeds()
    count = flags.FLAGS.num_measured or len(seeds)
    first = max(seeds) + 1
    most = len(seeds) + MAX_SEED + 1 - first
    if count > most:
        raise UserError(
            f"--num_measured is {count}, expected at most {most}, which are the images of --seeds and those of all "
            "seeds above the highest of them"
        )
    return (*seeds[:count], *range(first, first + count - len(seeds)))


def modulations_of_seeds(loaded: LoadedGenerator, seeds: Sequence[int]) -> Modulation:
    """The images of some seeds, of the class and with the truncation that the flags choose."""
    return sample_modulations(loaded, seeds, flags.FLAGS.class_index, chosen_truncation())


def sampling_record(seeds: Sequence[int]) -> dict[str, Any]:
    """What says which images a table is of."""
    values = flags.FLAGS
    return {
        "num_measured": len(seeds),
        "measured_seeds": seeds_text(seeds),
        "class_index": values.class_index,
        "truncation_psi": values.truncation_psi,
        "truncation_cutoff": values.truncation_cutoff,
    }


def chosen_truncation() -> Truncation:
    """What --truncation_psi and --truncation_cutoff say."""
    from inr_gan_jax.sampling import Truncation

    return Truncation(flags.FLAGS.truncation_psi, flags.FLAGS.truncation_cutoff)


def chosen_modulations(loaded: LoadedGenerator) -> Modulation:
    """The images that the seed flags choose, as INRs with a leading axis.

    Raises:
        UserError: for seeds, a class or a truncation that do not fit.
    """
    return modulations_of_seeds(loaded, chosen_seeds())


def check_size(height: int, width: int) -> tuple[int, int]:
    """Returns a size in pixels that a picture can have.

    Raises:
        UserError: if it is nothing, or more than is drawn at once.
    """
    if height < 1 or width < 1:
        raise UserError(f"the size is {height} x {width} pixels, expected at least 1 x 1")
    if height * width > MAX_PIXELS:
        raise UserError(
            f"the size is {height} x {width} pixels, more than the {MAX_PIXELS:,} that are drawn at once; "
            "inr_gan_jax.tools.tile draws any size"
        )
    return height, width


def check_continuous(loaded: LoadedGenerator, wish: str) -> None:
    """Refuses networks that draw their trained picture only.

    Args:
        loaded: the generator.
        wish: what was asked for, such as "super-resolution".

    Raises:
        UserError: for a network with bilinear or FIR upsampling, instance norm, or kernels of 3x3.
    """
    if not loaded.generator.is_continuous:
        raise UserError(
            f"{loaded.source} draws its trained picture only (bilinear or FIR upsampling, instance norm or 3x3 kernels "
            f"look at neighbouring pixels), so {wish} is not possible with it"
        )


def output_folder(path: str | Path) -> Path:
    """Makes a folder for results, and checks that files can be written there.

    Raises:
        UserError: if they cannot.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"output folder {folder} cannot be written ({error.strerror})") from error
    return folder


def save_picture(path: Path, image: np.ndarray) -> None:
    """Writes a picture [height, width, 1 or 3], uint8, in the format that the name ends with.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error


def save_text(path: Path, text: str) -> None:
    """Writes a file of text.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error


def with_progress(label: str, names: Sequence[int], items: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each name with its item, and shows how far the work is and how long it still takes."""
    with Progress(label, len(names)) as progress:
        for pair in zip(names, items, strict=True):
            yield pair
            progress.add(1)


def save_record(folder: Path, tool: str, loaded: LoadedGenerator, values: Mapping[str, Any]) -> None:
    """Writes what was done to `record.json`: tool, versions, checkpoint, flags, and the tool's own values.

    Raises:
        UserError: if it cannot be written.
    """
    import jax

    record = {
        "tool": tool,
        "version": inr_gan_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "unix_time": round(time.time()),
        "checkpoint": {"source": loaded.source, "kimg": loaded.kimg, "native_size": list(loaded.generator.size)},
        "flags": _given_flags(),
        **values,
    }
    save_text(folder / RECORD_FILE, json.dumps(record, indent=2) + "\n")


def _given_flags() -> dict[str, Any]:
    """The flags of the running command; none in a notebook."""
    values = own_flags(flags.FLAGS) if flags.FLAGS.is_parsed() else {}
    return {name: value for name, value in values.items() if name != _CHECKPOINT_ALIAS}
