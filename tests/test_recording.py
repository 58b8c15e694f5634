"""Tables and comparisons of the benchmarks."""

import json
from pathlib import Path

import pytest

from benchmarks import recording
from inr_gan_jax.errors import UserError


def test_rows_are_compared_by_name_and_median() -> None:
    now = {"8": {"median_seconds": 0.5}, "16": {"median_seconds": 1.0}, "new": {"median_seconds": 1.0}}
    before = {"8": {"median_seconds": 1.0}, "16": {"median_seconds": 0.25}}
    assert recording.compared(now, before).splitlines() == [
        "8: 2.00 times as fast as before",
        "16: 0.25 times as fast as before",
    ]
    assert recording.compared(now, {}) == "no row in common"


def test_table_shows_numbers_and_leaves_raw_timings_and_gaps_out() -> None:
    rows = {"a": {"median_seconds": 0.12345, "seconds": [1.0]}, "b": {"median_seconds": 2, "gflop": float("nan")}}
    assert recording.table(rows).split() == ["median_seconds", "gflop", "a", "0.1235", "b", "2"]


def test_a_file_that_is_no_record_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"results": {}}))
    with pytest.raises(UserError, match="is no record of a benchmark"):
        recording._read(str(path))
