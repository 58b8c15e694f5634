"""What the benchmarks share: timing, a record of machine and versions, tables, and ratios to an earlier record."""

import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import flags

from inr_gan_jax.errors import UserError

Row = dict[str, Any]


def define_record_flags() -> None:
    """Defines --turns, --output and --compare."""
    flags.DEFINE_integer("turns", 5, "How often each row is measured after the first time; the median counts.", 1)
    flags.DEFINE_string("compare", None, "JSON file of an earlier run; prints its seconds divided by ours.")
    define_output_flag()


def define_output_flag() -> None:
    """Defines --output, for benchmarks that measure no time."""
    flags.DEFINE_string("output", None, "JSON file to write.")


def whole_numbers(flag: str) -> list[int]:
    """The numbers of a flag that is a list.

    Raises:
        UserError: if one is no whole number above 0.
    """
    values: list[str] = flags.FLAGS[flag].value or []
    if not all(value.isdecimal() and int(value) > 0 for value in values):
        raise UserError(f"--{flag} is {','.join(values)}, expected whole numbers above 0 such as 8,16")
    return [int(value) for value in values]


def seconds_of(once: Callable[[], Any], turns: int) -> list[float]:
    """Seconds of each turn; one before them compiles and warms up.

    Args:
        once: does the work; what it returns is waited for.
        turns: how often.
    """
    jax.block_until_ready(once())
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        jax.block_until_ready(once())
        seconds.append(time.perf_counter() - started)
    return seconds


def timed(seconds: Sequence[float]) -> Row:
    """Raw seconds and their median, as entries of a row."""
    return {"seconds": list(seconds), "median_seconds": statistics.median(seconds)}


def commit() -> str | None:
    """The commit of the working folder, None outside of a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def machine() -> Row:
    """Device, versions, commit and command."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "num_devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "commit": commit(),
        "command": command(),
    }


def command() -> str:
    """What repeats the benchmark that runs; its file may lie anywhere."""
    return " ".join(["python", "-m", f"benchmarks.{pathlib.Path(sys.argv[0]).stem}", *sys.argv[1:]])


def finish(rows: Mapping[str, Row], more: Mapping[str, Any] | None = None) -> None:
    """Prints a table; writes and compares where the flags say so.

    Args:
        rows: measurements by name; entries that are plain numbers become columns.
        more: what else the record holds.

    Raises:
        UserError: if a file cannot be read or written.
    """
    values = flags.FLAGS
    print(table(rows))
    if values.compare:
        print(compared(rows, _read(values.compare)))
    write_record(rows, more)


def write_record(rows: Mapping[str, Row], more: Mapping[str, Any] | None = None) -> None:
    """Writes the rows, what else is known of them and the machine, where --output says.

    Raises:
        UserError: if the file cannot be written.
    """
    path = flags.FLAGS["output"].value
    if not path:
        return
    text = json.dumps({"machine": machine(), **(more or {}), "rows": rows}, indent=2)
    try:
        pathlib.Path(path).write_text(text + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error


def table(rows: Mapping[str, Row]) -> str:
    """Rows as aligned text."""
    columns = list(dict.fromkeys(key for row in rows.values() for key, value in row.items() if _is_number(value)))
    lines = [["", *columns]]
    lines += [[name, *(_shown(row.get(key)) for key in columns)] for name, row in rows.items()]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns) + 1)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def compared(rows: Mapping[str, Row], before: Mapping[str, Row]) -> str:
    """How much faster each row is than in an earlier record; above 1 is faster."""
    key = "median_seconds"
    pairs = [(name, before[name][key] / row[key]) for name, row in rows.items() if key in row and name in before]
    return "\n".join(f"{name}: {ratio:.2f} times as fast as before" for name, ratio in pairs) or "no row in common"


def _read(path: str) -> Mapping[str, Row]:
    try:
        return json.loads(pathlib.Path(path).read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of a benchmark ({type(error).__name__})") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:.4g}"
