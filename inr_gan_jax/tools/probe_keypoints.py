r"""The geometric prior: how well keypoints of an image follow, linearly, from its code.

    python -m inr_gan_jax.tools.probe_keypoints --checkpoint=runs/digits --seeds=0-1999 --resolution=32
    python -m inr_gan_jax.tools.probe_keypoints --checkpoint=runs/digits --baseline=runs/digits_stylegan2

Ridge regression from each of three spaces, z, w and modulation, cross-validated, beside the same on shuffled keypoints.
Modulation is all numbers of an image as an INR; of a convolutional network (`stylegan2`), its styles. In all networks
here modulation is an affine function of w, so the two span the same linear models and differ in what ridge shrinks.

Keypoints are built-in landmarks (landmarks.py), measured in the pictures that the generator draws of --seeds, or
those of a CSV (keypoint_file.py): by seeds, or by names of files whose codes `project` has found (--codes).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_float, define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import (
    check_continuous,
    check_size,
    chosen_seeds,
    define_checkpoint_flag,
    define_output_flag,
    define_seeds_flag,
    define_side_flag,
    load_checkpoint,
    output_folder,
    save_picture,
    save_record,
)
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.code_file import load_codes
from inr_gan_jax.inference.keypoint_file import KeypointTable, read_keypoints
from inr_gan_jax.inference.landmarks import ALL, Foreground, Keypoints, built_in_landmarks
from inr_gan_jax.inference.latents import intermediate_codes, labels, latents, modulations_of
from inr_gan_jax.inference.probe import Probe, ProbeSettings, run_probe
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.progress import Progress

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation


BARS_FILE, SCATTER_FILE, SHEET_FILE = "r2.png", "predicted_against_true.png", "landmarks.png"
_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Subjects:
    """Images of one generator with their codes and keypoints.

    Attributes:
        name: of the generator.
        spaces: name of a space -> arrays [count, ...] that make up the code in it.
        images: [count, height, width, channels], uint8.
        keypoints: of the images, all known.
        num_dropped: images whose keypoints were not all known.
    """

    name: str
    spaces: dict[str, list[np.ndarray]]
    images: np.ndarray
    keypoints: Keypoints
    num_dropped: int


def subjects_of_seeds(
    loaded: LoadedGenerator,
    seeds: Sequence[int],
    side: int | None = None,
    keypoints: Keypoints | None = None,
    foreground: Foreground = "bright",
) -> Subjects:
    """Draws images and measures their landmarks.

    Args:
        loaded: the generator.
        seeds: of the images. Conditional generators draw all classes in turn.
        side: longer side of the pictures in pixels; None for the trained size.
        keypoints: of the images; None measures built-in landmarks.
        foreground: of built-in landmarks.

    Raises:
        UserError: if there are no landmarks to be found.
    """
    import jax

    z, c = latents(loaded, seeds), labels(loaded, len(seeds))
    spaces: dict[str, list[np.ndarray]] = {"z": [np.asarray(z)], "w": [], "modulation": []}
    drawn, codes, modulations = [], [], []
    for start in range(0, len(seeds), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        ws = intermediate_codes(loaded, z[part], None if c is None else c[part])
        codes.append(np.asarray(ws[:, 0]))
        # On the host, and drawn from there: many images are large as INRs.
        modulations.append(jax.tree.map(np.asarray, modulations_of(loaded, ws)))
    with Progress(f"drawing {loaded.source}", len(seeds)) as progress:
        for modulation in modulations:
            drawn.append(_pictures(loaded, modulation, side))
            progress.add(len(drawn[-1]))
    spaces["w"] = [np.concatenate(codes)]
    spaces["modulation"] = [np.concatenate(parts) for parts in zip(*map(jax.tree.leaves, modulations), strict=True)]
    return _known_subjects(loaded.source, spaces, np.concatenate(drawn), keypoints, foreground)


def subjects_of_codes(loaded: LoadedGenerator, path: str, table: KeypointTable, side: int | None = None) -> Subjects:
    """Takes the images that `project` has found codes of; there is no z, and w is all of ws.

    Raises:
        UserError: if the file is no file of codes, or holds none for an image of the table.
    """
    import jax

    codes = load_codes(path, loaded)
    files = table.files or ()
    missing = sorted(set(files) - set(codes.names))
    if missing:
        raise UserError(f"{path} holds no code of the image {missing[0]!r}")
    rows = np.array([codes.names.index(name) for name in files])
    modulations = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], codes.modulations)
    spaces = {} if codes.ws is None else {"w": [np.asarray(codes.ws)[rows]]}
    spaces["modulation"] = jax.tree.leaves(modulations)
    return _known_subjects(loaded.source, spaces, _pictures(loaded, modulations, side), table.keypoints, "bright")


def probe_all(subjects: Subjects, settings: ProbeSettings) -> dict[str, Probe]:
    """Probes every space.

    Raises:
        UserError: if there are fewer images than a cross-validation needs.
    """
    count = len(subjects.images)
    if count < 2 * settings.num_folds:
        raise UserError(
            f"{subjects.name} has keypoints of {count} images, expected at least {2 * settings.num_folds} for "
            f"{settings.num_folds} folds"
        )
    probes = {}
    with Progress(f"probing {subjects.name}", len(subjects.spaces), unit="spaces") as progress:
        for space, codes in subjects.spaces.items():
            probes[space] = run_probe(codes, subjects.keypoints, settings)
            progress.add(1)
    return probes


def _pictures(loaded: LoadedGenerator, modulations: Modulation, side: int | None) -> np.ndarray:
    from inr_gan_jax.inference.pictures import render_each
    from inr_gan_jax.inference.views import viewport_of_side
    from inr_gan_jax.sampling import count_of

    view = viewport_of_side(loaded, side if loaded.generator.is_continuous else None)
    assert count_of(modulations), "there are images"
    return np.stack([to_uint8(image) for image in render_each(loaded, modulations, view)])


def _known_subjects(
    name: str,
    spaces: dict[str, list[np.ndarray]],
    images: np.ndarray,
    keypoints: Keypoints | None,
    foreground: Foreground,
) -> Subjects:
    keypoints = built_in_landmarks(images, foreground) if keypoints is None else keypoints
    rows = np.flatnonzero(keypoints.is_known)
    if not len(rows):
        raise UserError(f"none of the {len(images)} images of {name} has keypoints: all are of one colour or empty")
    kept = {space: [array[rows] for array in arrays] for space, arrays in spaces.items()}
    return Subjects(name, kept, images[rows], keypoints.chosen(rows), len(images) - len(rows))


def _subjects_of_flags(loaded: LoadedGenerator, checkpoint_role: str) -> Subjects:
    """Images of the checkpoint or of the baseline, whose CSVs have flags of their own."""
    values = flags.FLAGS.flag_values_dict()
    file, side = values[f"{checkpoint_role}keypoints"], values["resolution"]
    table = read_keypoints(file) if file else None
    if table is None:
        return subjects_of_seeds(loaded, chosen_seeds(), side, None, values["foreground"])
    if table.seeds is not None:
        return subjects_of_seeds(loaded, table.seeds, side, table.keypoints)
    return subjects_of_codes(loaded, values[f"{checkpoint_role}codes"], table, side)


def _check_flags(loaded: LoadedGenerator, baseline: LoadedGenerator | None) -> None:
    """Refuses what does not fit together, before anything is drawn."""
    values = flags.FLAGS.flag_values_dict()
    side = values["resolution"]
    if side is not None:
        check_size(side, side)
        check_continuous(loaded, "another --resolution")
    for role in ("", "baseline_") if baseline else ("",):
        file, codes = values[f"{role}keypoints"], values[f"{role}codes"]
        names_files = bool(file) and read_keypoints(file).files is not None
        if names_files and not codes:
            raise UserError(f"{file} names files, so give --{role}codes=codes.safetensors, which `project` has written")
        if codes and not names_files:
            raise UserError(f"--{role}codes needs --{role}keypoints=FILE.csv with a column `file`")
        if not names_files:
            num_images = len(read_keypoints(file).seeds or ()) if file else len(chosen_seeds())
            if num_images < 2 * values["num_folds"]:
                raise UserError(f"{num_images} images are too few, expected at least {2 * values['num_folds']}")
    if baseline and values["keypoints"] and not values["baseline_keypoints"]:
        raise UserError("the baseline draws other images, so give --baseline_keypoints of them, too")


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.loading import load_generator

    values = flags.FLAGS.flag_values_dict()
    chosen_seeds()
    loaded = load_checkpoint()
    baseline = load_generator(values["baseline"]) if values["baseline"] else None
    _check_flags(loaded, baseline)
    folder = output_folder(values["output"])
    settings = ProbeSettings(values["num_folds"], values["num_resamples"], values["confidence"], values["probe_seed"])
    everything = [_subjects_of_flags(loaded, "")]
    if baseline is not None:
        everything.append(_subjects_of_flags(baseline, "baseline_"))
    probes: dict[str, Probe] = {}
    for role, subjects in zip(("", "baseline "), everything, strict=False):
        probes |= {f"{role}{space}": probe for space, probe in probe_all(subjects, settings).items()}
    _write_pictures(folder, everything[0], probes)
    measured = [_record_of(subjects) for subjects in everything]
    numbers = {name: _numbers(probe) for name, probe in probes.items()}
    save_record(folder, "probe_keypoints", loaded, {"measured": measured, "probes": numbers})
    print(_summary(probes))
    print(f"{folder}: look at {BARS_FILE}, {SCATTER_FILE} and {SHEET_FILE}; record.json has every number")


def _write_pictures(folder: Path, subjects: Subjects, probes: dict[str, Probe]) -> None:
    from inr_gan_jax.inference.probe_plots import landmark_sheet, plot_bars, plot_scatter

    count = len(subjects.images)
    plot_bars(folder / BARS_FILE, probes, f"Keypoints by ridge regression, {subjects.name}, {count} images")
    modulation = probes["modulation"]
    plot_scatter(folder / SCATTER_FILE, modulation, subjects.keypoints, f"{subjects.name}, from modulation")
    save_picture(folder / SHEET_FILE, landmark_sheet(subjects.images, subjects.keypoints, modulation.predicted))


def _record_of(subjects: Subjects) -> dict[str, object]:
    height, width = subjects.images.shape[1:3]
    return {
        "source": subjects.name,
        "images": len(subjects.images),
        "dropped": subjects.num_dropped,
        "picture_size": [height, width],
        "groups": list(subjects.keypoints.groups),
    }


def _numbers(probe: Probe) -> dict[str, object]:
    return {
        "features": probe.num_features,
        "components": probe.num_components,
        "true": dataclasses.asdict(probe.true),
        "shuffled": dataclasses.asdict(probe.shuffled),
    }


def _summary(probes: dict[str, Probe]) -> str:
    lines = []
    for name, probe in probes.items():
        for group in (*(group for group in probe.true.r2 if group != ALL), ALL):
            r2, control, error = probe.true.r2[group], probe.shuffled.r2[group], probe.true.error[group]
            lines.append(
                f"{name:<20} {group:<10} R2 {r2.value:6.3f} [{r2.low:6.3f}, {r2.high:6.3f}], shuffled "
                f"{control.value:6.3f}, error {error.value:.3f} (shuffled {probe.shuffled.error[group].value:.3f})"
            )
    return "\n".join(lines)


def define_flags() -> None:
    """Defines the flags of the command."""
    define_checkpoint_flag()
    define_output_flag("pictures/probe_keypoints")
    define_seeds_flag("seeds", "0-1999", "Images to draw and measure, such as 0-1999; not with --keypoints.")
    define_side_flag("resolution", "Longer side of the measured pictures; the trained size by default.")
    flags.DEFINE_enum("foreground", "bright", ["bright", "dark"], "What built-in landmarks are measured of.")
    flags.DEFINE_string("keypoints", None, "CSV with the columns seed or file, x1, y1, ..., in [0, 1] of the picture.")
    flags.DEFINE_string("codes", None, "Codes of the files of --keypoints, as `project` writes them.")
    flags.DEFINE_string("baseline", None, "Another checkpoint, such as a stylegan2 network, to compare with.")
    flags.DEFINE_string("baseline_keypoints", None, "As --keypoints, of the baseline's images.")
    flags.DEFINE_string("baseline_codes", None, "As --codes, of the baseline.")
    define_integer("num_folds", 5, "Folds of the cross-validation.", 2, 100)
    define_integer("num_resamples", 1000, "Resamples of the images for the intervals.", 10, 10**6)
    define_float("confidence", 0.95, "Of the intervals.", 0.01, 0.999)
    define_integer("probe_seed", 0, "Of folds, shuffling and resamples.", 0, 2**32 - 1)


if __name__ == "__main__":
    define_flags()
    run(main)
