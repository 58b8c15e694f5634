"""Results of the runs of a sweep: one record per run, and one mean with its interval per row."""

import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.sweep_runs import Run
from inr_gan_jax.errors import UserError
from inr_gan_jax.training.collapse_monitor import COLLAPSE_FILE
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.run_folder import CONFIG_FILE, STARTS_FILE

Record = dict[str, Any]

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over seeds and how far seeds lie apart.

    Attributes:
        mean: over the seeds.
        low, high: 95 % interval of the mean by Student's t for three seeds and more; both seeds themselves for two;
            the one value for one.
        kind: `t`, `range` or `one`.
    """

    mean: float
    low: float
    high: float
    kind: str


def interval(values: Sequence[float]) -> Interval:
    """Mean and interval of one number a seed, at least one."""
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Interval(mean, mean, mean, "one")
    if count == 2:
        return Interval(mean, min(values), max(values), "range")
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, "t")


def seconds_per_kimg(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Median of the seconds that a thousand images took between two ticks of a log.

    The median leaves out compilation, evaluation, checkpoints and pauses between two starts.

    Args:
        lines: of `metrics.jsonl`, with `kimg` and, at ticks, `unix_time`.
    """
    ticks = [line for line in lines if "unix_time" in line]
    pairs = itertools.pairwise(ticks)
    spent = [
        (after["unix_time"] - before["unix_time"]) / (after["kimg"] - before["kimg"])
        for before, after in pairs
        if after["kimg"] > before["kimg"]
    ]
    return statistics.median(spent) if spent else None


def record_of(run: Run, failure: str | None, pace: float | None = None) -> Record:
    """All that repeats and judges a run: configuration, starts, alarms, and the metric as it went.

    Args:
        run: under way or ended.
        failure: why it failed, if it did.
        pace: seconds a thousand images where they were measured apart; else those of the run itself count.
    """
    lines = run.metric_lines()
    record: Record = {
        "label": run.row.label,
        "config": run.row.config,
        "overrides": dict(run.overrides),
        "seed": run.seed,
        "kimg": run.kimg,
        "command": run.command,
        "status": "failed" if failure else "finished" if run.is_finished() else "unfinished",
        "resolved_config": _json_lines(run.folder / CONFIG_FILE, whole=True),
        "starts": _json_lines(run.folder / STARTS_FILE),
        "alarms": _json_lines(run.folder / COLLAPSE_FILE),
    }
    if failure:
        record["reason"] = failure
    if lines:
        record |= _measured(lines, pace or seconds_per_kimg(read_metrics(run.folder)))
    return record


def curves_beside(path: Path) -> list[Record]:
    """Curves of another program, to be plotted with ours.

    Args:
        path: JSON with `label`, `kimg` (images of each point) and `seeds` (the metric at each point, by seed).

    Returns:
        A record a seed, with `label`, `seed` and `curve`.

    Raises:
        UserError: if the file holds nothing of the kind.
    """
    try:
        content = json.loads(path.read_text())
        return [
            {
                "label": content["label"],
                "seed": int(seed),
                "status": "of another program",
                "curve": [
                    {"kimg": float(kimg), "value": float(value)}
                    for kimg, value in zip(content["kimg"], values, strict=True)
                ],
            }
            for seed, values in content["seeds"].items()
        ]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds no curves: label, kimg, and a list as long for each of seeds") from error


def _measured(lines: Sequence[Mapping[str, Any]], pace: float | None) -> Record:
    """The metric as it went; `lines` hold it."""
    names = [name for name in lines[-1] if name.startswith("metric/")]
    metric = next(name for name in names if "_floor_" not in name)
    beside = [name for name in names if name != metric and "_floor_" not in name]
    curve = [
        {"kimg": line["kimg"], "value": line[metric], **{_short(name): line[name] for name in beside if name in line}}
        for line in lines
    ]
    if pace is not None:
        curve = [{**point, "seconds": pace * point["kimg"]} for point in curve]
    floors = {name.rpartition("_floor_")[2]: lines[-1][name] for name in names if "_floor_" in name}
    return {
        "metric": _short(metric),
        "floors": floors,
        "curve": curve,
        "final": curve[-1]["value"],
        "final_kimg": curve[-1]["kimg"],
        "seconds_per_kimg": pace,
    }


def strict(value: Any) -> Any:
    """Lists and dictionaries with null for the numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(name: str) -> str:
    return name.removeprefix("metric/")


def _json_lines(path: Any, whole: bool = False) -> Any:
    """The lines of a file, or a file of one value; what is not there is empty."""
    text = path.read_text() if path.exists() else ""
    if whole:
        return json.loads(text) if text else None
    return [json.loads(line) for line in text.splitlines()]


def at_seconds(curve: Sequence[Mapping[str, float]], seconds: float) -> float | None:
    """The metric after a time of training, between two evaluations on a line through their logarithms.

    Args:
        curve: points with `seconds` and `value`.
        seconds: of training.

    Returns:
        None outside of the evaluated times, or where a value is not above 0.
    """
    times = [point.get("seconds", math.nan) for point in curve]
    values = [point["value"] for point in curve]
    # The end of the fastest row is met by itself up to rounding.
    if not times[0] <= seconds <= times[-1] * (1 + 1e-9) or min(values) <= 0:
        return None
    return float(np.exp(np.interp(seconds, times, np.log(values))))


def by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each row, in the order in which the rows come first."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["label"], []).append(record)
    return groups


def summary(records: Sequence[Record]) -> dict[str, Record]:
    """A row a label, over the seeds that finished; labels without any are left out.

    Returns:
        `seeds`, `metric` (mean), `low`, `high`, `kind`, `seconds_per_kimg` (mean), and `at_equal_time`, the mean metric
        after the seconds, `equal_seconds`, in which the fastest row ended.
    """
    finished = by_label(record for record in records if record["status"] == "finished")
    ends = [
        statistics.fmean(each["curve"][-1].get("seconds", math.nan) for each in group) for group in finished.values()
    ]
    equal = min((end for end in ends if not math.isnan(end)), default=math.nan)
    return {label: _row(group, equal) for label, group in finished.items()}


def _row(group: Sequence[Record], equal_seconds: float) -> Record:
    found = interval([each["final"] for each in group])
    paces = [each["seconds_per_kimg"] for each in group if each["seconds_per_kimg"] is not None]
    # Of the row that ends first, the seeds that were a little faster than their mean end before it.
    reached = [at_seconds(each["curve"], min(equal_seconds, each["curve"][-1].get("seconds", 0.0))) for each in group]
    then = [value for value in reached if value is not None]
    return {
        "seeds": len(group),
        "metric": found.mean,
        "low": found.low,
        "high": found.high,
        "kind": found.kind,
        "seconds_per_kimg": statistics.fmean(paces) if paces else math.nan,
        "equal_seconds": equal_seconds,
        "at_equal_time": statistics.fmean(then) if len(then) == len(group) else math.nan,
    }
