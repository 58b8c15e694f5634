r"""The geometric prior: how well keypoints of an image are predicted linearly from its code.

    python -m inr_gan_jax.tools.probe_keypoints --checkpoint=runs/digits --seeds=0-1999 --resolution=32
    python -m inr_gan_jax.tools.probe_keypoints --checkpoint=runs/digits --baseline=runs/digits_stylegan2

Cross-validated ridge regression from three spaces, z, w and modulation, compared with the same on shuffled keypoints.
Modulation is all arrays of an image as an INR; of a convolutional network (`stylegan2`), its styles. In all networks
here modulation is an affine function of w, so the two span the same linear models and differ in what ridge shrinks.

Keypoints are built-in landmarks, measured in the images of --seeds, or those of a CSV (inference/keypoints.py): by
seeds, or by names of files whose codes `project` has found (--codes).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from absl import flags

from inr_gan_jax.cli import flags as options
from inr_gan_jax.cli.checked_flags import define_float, define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.output import output_folder, save_picture, save_record
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import Foreground
from inr_gan_jax.inference.keypoints import ALL, read_keypoints

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.inference.probe import Probe, Subjects

BARS_FILE, SCATTER_FILE, SHEET_FILE = "r2.png", "predicted_against_true.png", "landmarks.png"


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.loading import load_generator
    from inr_gan_jax.inference.probe import ProbeSettings, probe_all

    values = flags.FLAGS.flag_values_dict()
    loaded = options.load_checkpoint()
    baseline = load_generator(values["baseline"]) if values["baseline"] else None
    _check_flags(loaded, baseline)
    folder = output_folder(values["output"])
    settings = ProbeSettings(values["num_folds"], values["num_resamples"], values["confidence"], values["probe_seed"])
    subjects = {"": _chosen_subjects(loaded, "")}
    if baseline is not None:
        subjects["baseline "] = _chosen_subjects(baseline, "baseline_")
    probes: dict[str, Probe] = {}
    for role, each in subjects.items():
        probes |= {f"{role}{space}": probe for space, probe in probe_all(each, settings).items()}
    _write_plots(folder, subjects[""], probes)
    measured = [_subjects_record(each) for each in subjects.values()]
    numbers = {name: _probe_record(probe) for name, probe in probes.items()}
    save_record(folder, "probe_keypoints", loaded, {"measured": measured, "probes": numbers})
    print(_summary(probes))
    print(f"{folder}: look at {BARS_FILE}, {SCATTER_FILE} and {SHEET_FILE}; record.json has every number")


def _chosen_subjects(loaded: LoadedGenerator, role: str) -> Subjects:
    """Images of the checkpoint (role "") or of the baseline ("baseline_"), each with its own flags."""
    from inr_gan_jax.inference.probe import subjects_of_codes, subjects_of_seeds

    values = flags.FLAGS.flag_values_dict()
    file, side = values[f"{role}keypoints"], values["resolution"]
    table = read_keypoints(file) if file else None
    if table is None:
        return subjects_of_seeds(loaded, options.chosen_seeds(), side, None, values["foreground"])
    if table.seeds is not None:
        return subjects_of_seeds(loaded, table.seeds, side, table.keypoints)
    return subjects_of_codes(loaded, values[f"{role}codes"], table, side)


def _check_flags(loaded: LoadedGenerator, baseline: LoadedGenerator | None) -> None:
    """Rejects contradictory flags before anything is rendered."""
    from inr_gan_jax.inference.viewports import check_continuous, check_size

    values = flags.FLAGS.flag_values_dict()
    side = values["resolution"]
    if side is not None:
        check_size(side, side)
        check_continuous(loaded, "another --resolution")
    for role in ("", "baseline_") if baseline else ("",):
        file, codes = values[f"{role}keypoints"], values[f"{role}codes"]
        table = read_keypoints(file) if file else None
        names_files = table is not None and table.files is not None
        if names_files and not codes:
            raise UserError(f"{file} names files, so give --{role}codes=codes.safetensors, which `project` has written")
        if codes and not names_files:
            raise UserError(f"--{role}codes needs --{role}keypoints=FILE.csv with a column `file`")
        if not names_files:
            count, least = len((table and table.seeds) or options.chosen_seeds()), 2 * values["num_folds"]
            if count < least:
                raise UserError(f"{count} images are too few, expected at least {least}")
    if baseline and values["keypoints"] and not values["baseline_keypoints"]:
        raise UserError("the baseline renders other images, so also give their --baseline_keypoints")


def _write_plots(folder: Path, subjects: Subjects, probes: dict[str, Probe]) -> None:
    from inr_gan_jax.inference.probe_plots import landmark_sheet, plot_bars, plot_scatter

    count = len(subjects.images)
    plot_bars(folder / BARS_FILE, probes, f"Keypoints by ridge regression, {subjects.name}, {count} images")
    modulation = probes["modulation"]
    plot_scatter(folder / SCATTER_FILE, modulation, subjects.keypoints, f"{subjects.name}, from modulation")
    save_picture(folder / SHEET_FILE, landmark_sheet(subjects.images, subjects.keypoints, modulation.predicted))


def _subjects_record(subjects: Subjects) -> dict[str, object]:
    height, width = subjects.images.shape[1:3]
    return {
        "source": subjects.name,
        "images": len(subjects.images),
        "dropped": subjects.num_dropped,
        "picture_size": [height, width],
        "groups": list(subjects.keypoints.groups),
    }


def _probe_record(probe: Probe) -> dict[str, object]:
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
    options.define_checkpoint_flag()
    options.define_output_flag("pictures/probe_keypoints")
    options.define_seeds_flag("seeds", "0-1999", "Images to sample, such as 0-1999; not with --keypoints.")
    options.define_side_flag("resolution", "Longer side of the measured images; the trained size by default.")
    flags.DEFINE_enum("foreground", "bright", list(get_args(Foreground)), "Foreground of the built-in landmarks.")
    flags.DEFINE_string("keypoints", None, "CSV with the columns seed or file, x1, y1, ..., in [0, 1] of the image.")
    flags.DEFINE_string("codes", None, "Codes of the files of --keypoints, as `project` writes them.")
    flags.DEFINE_string("baseline", None, "Another checkpoint, such as a stylegan2 network, to compare with.")
    flags.DEFINE_string("baseline_keypoints", None, "As --keypoints, of the baseline's images.")
    flags.DEFINE_string("baseline_codes", None, "As --codes, of the baseline.")
    define_integer("num_folds", 5, "Folds of the cross-validation.", 2, 100)
    define_integer("num_resamples", 1000, "Resamples of the images for the intervals.", 10, 10**6)
    define_float("confidence", 0.95, "Confidence level of the intervals.", 0.01, 0.999)
    define_integer("probe_seed", 0, "Seed of folds, shuffling and resamples.", 0, 2**32 - 1)


if __name__ == "__main__":
    define_flags()
    run(main)
