"""Compares configurations by their pictures: trains each with several seeds at an equal number of real images shown.

    python -m benchmarks.quality --sweep=digits --output=benchmarks/results/quality_digits.json \
        --plot=docs/images/quality_digits.png

Sweeps are listed in `benchmarks/sweeps.py`. A run is a training in a process of its own, in a folder below --workdir;
the same command skips what is finished and goes on with the rest, and sweeps share the runs that they have in common.
A row that fails is reported and stops no other. Times are those of the steps alone, by the median thousand of images;
they mean something only between rows that had the machine in the same way. Where they had not, --pace gives what
`benchmarks/train_step.py` measured on a quiet machine.
"""

import dataclasses
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.recording import command, commit, table
from benchmarks.sweep_plot import is_picture, write_plot, write_sheet
from benchmarks.sweep_report import Record, curves_beside, record_of, strict, summary
from benchmarks.sweep_runs import Run, interrupt_once, runs_of, train_all
from benchmarks.sweeps import SWEEPS, Sweep, Value
from inr_gan_jax.cli.command import run
from inr_gan_jax.errors import UserError

_SWEEP = flags.DEFINE_enum("sweep", None, list(SWEEPS), "Which rows.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", "runs/quality", "Folder of the run folders.")
_SEEDS = flags.DEFINE_list("seeds", None, "Seeds of every row, such as 0,1; those of the sweep when not given.")
_KIMG = flags.DEFINE_float("kimg", None, "Thousands of real images of a run; those of the sweep when not given.")
_ONLY = flags.DEFINE_multi_string("only", [], "Label of a row to run, may be repeated; all by default.")
_SET = flags.DEFINE_multi_string("set", [], "key=value for all rows, such as evaluation.metric=fsd2k_full; repeatable.")
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at a time; more than one compute in one thread of a CPU each.", 1)
_REPORT_ONLY = flags.DEFINE_boolean("report_only", False, "Train nothing, report what is there.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_PACE = flags.DEFINE_multi_string(
    "pace", [], "LABEL=IMAGES_PER_SECOND of a row, measured separately; repeatable, of all rows whose times count."
)
_PLOT = flags.DEFINE_string("plot", None, "Picture of the curves to write.")
_BESIDE = flags.DEFINE_string("beside", None, "JSON file of another program's curves to plot, too: label, kimg, seeds.")
_PLOT_TIME = flags.DEFINE_boolean("plot_time", True, "Plot against time, too; no for runs that shared the machine.")
_SHEET = flags.DEFINE_string("sheet", None, "Picture to write of the last samples of each row's first seed.")
# What the runs of a comparison have from flags of their own.
_FLAGS_OF_KEYS = {"seed": "--seeds", "training.total_kimg": "--kimg"}


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    runs = _runs(_chosen_sweep())
    others = curves_beside(Path(_BESIDE.value)) if _BESIDE.value else []
    paces = _paces(list(dict.fromkeys(run.row.label for run in runs)))
    _check_outputs()
    # What ends the comparison lets its runs save first.
    interrupt_once()
    failures: dict[Run, str] = {}
    if not _REPORT_ONLY.value:
        for each in runs:
            if not each.is_finished():
                each.check()
        failures = train_all(runs, _JOBS.value, lambda line: print(line, file=sys.stderr, flush=True))
    records = [record_of(each, failures.get(each), paces.get(each.row.label)) for each in runs]
    rows = summary(records)
    print(table(rows))
    _write(records, rows, runs, others)
    for record in records:
        if record["status"] != "finished":
            print(f"{record['label']}, seed {record['seed']}: {record['status']} {record.get('reason', '')}".strip())
    if failures:
        sys.exit(1)


def _chosen_sweep() -> Sweep:
    sweep = SWEEPS[_SWEEP.value]
    if _SEEDS.value is not None:
        sweep = dataclasses.replace(sweep, seeds=tuple(_seeds(_SEEDS.value)))
    if _KIMG.value is None:
        return sweep
    if not 0 < _KIMG.value < math.inf:
        raise UserError(f"--kimg is {_KIMG.value:g}, expected a number above 0")
    return dataclasses.replace(sweep, kimg=_KIMG.value)


def _seeds(texts: Sequence[str]) -> list[int]:
    if not texts or not all(text.isdecimal() for text in texts) or len({*map(int, texts)}) < len(texts):
        raise UserError(f"--seeds is {','.join(texts)!r}, expected different whole numbers such as 0,1")
    return [int(text) for text in texts]


def _runs(sweep: Sweep) -> list[Run]:
    labels = [row.label for row in sweep.rows]
    unknown = [label for label in _ONLY.value if label not in labels]
    if unknown:
        raise UserError(f"--only is {unknown[0]!r}, the sweep has {', '.join(map(repr, labels))}")
    parent = Path(_WORKDIR.value).expanduser()
    return runs_of(sweep, parent, _overrides(), _ONLY.value, one_thread=_JOBS.value > 1)


def _overrides() -> dict[str, Value]:
    pairs = [text.partition("=") for text in _SET.value]
    for key, sign, value in pairs:
        if not key or not sign:
            raise UserError(f"--set is {key!r}, expected key=value such as evaluation.metric=fsd2k_full")
        if key in _FLAGS_OF_KEYS:
            raise UserError(f"--set is {key}={value}, which {_FLAGS_OF_KEYS[key]} says")
    return {key: value for key, _, value in pairs}


def _paces(labels: Sequence[str]) -> dict[str, float]:
    """Seconds per thousand images by the label of a row."""
    paces = {}
    for text in _PACE.value:
        label, _, speed = text.rpartition("=")
        try:
            paces[label] = 1000 / float(speed)
        except (ValueError, ZeroDivisionError):
            raise UserError(f"--pace is {text!r}, expected LABEL=IMAGES_PER_SECOND such as release=557") from None
        if label not in labels or not 0 < paces[label] < math.inf:
            raise UserError(f"--pace is {text!r}, expected one of {', '.join(labels)} and a number above 0")
    return paces


def _check_outputs() -> None:
    """Checks, before hours of work, that the files can be written that the flags ask for."""
    for flag, fits in ((_OUTPUT, lambda path: True), (_PLOT, is_picture), (_SHEET, is_picture)):
        if not flag.value:
            continue
        path = Path(flag.value)
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise UserError(f"--{flag.name} is {path}, expected a file in a folder that is there and can be written")
        if not fits(path):
            raise UserError(f"--{flag.name} is {path}, expected a picture such as {path.stem}.png")


def _write(records: Sequence[Record], rows: dict[str, Record], runs: Sequence[Run], others: Sequence[Record]) -> None:
    """Writes the files that the flags ask for; `others` are curves of another program."""
    if not any(record.get("curve") for record in records):
        print("no run has a number yet, so no file is written")
        return
    try:
        if _OUTPUT.value:
            here = {
                "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "python": platform.python_version(),
                "commit": commit(),
                "command": command(),
            }
            content = {"machine": here, "sweep": _SWEEP.value, "rows": rows, "runs": records}
            Path(_OUTPUT.value).write_text(json.dumps(strict(content), indent=1, allow_nan=False) + "\n")
        if _PLOT.value:
            write_plot([*records, *others], Path(_PLOT.value), _PLOT_TIME.value)
        if _SHEET.value:
            first = runs[0].seed
            if not write_sheet([run for run in runs if run.seed == first], Path(_SHEET.value)):
                print(f"no run has samples yet, so {_SHEET.value} is not written")
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    run(main, when_stopped="; the same command resumes from there")
