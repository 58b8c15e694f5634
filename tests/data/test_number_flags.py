"""Numbers on the command line, and what is said when they are none."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from inr_gan_jax.data.number_flags import define_number, define_whole_number

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    define = flags.DEFINE
    monkeypatch.setattr(flags, "DEFINE", lambda *given, **keys: define(*given, flag_values=values, **keys))
    define_whole_number("resolution", None, "Pixels.", 4, 10_000, "; or two sides")
    define_number("share", 0.5, "Share.", 0, 1)
    return values


@pytest.mark.parametrize(("given", "expected"), [((), (None, 0.5)), (("--resolution=4", "--share=1e-1"), (4, 0.1))])
def test_numbers_in_their_range_are_taken(values: flags.FlagValues, given: tuple[str, ...], expected: tuple) -> None:
    values(["program", *given])
    assert (values.resolution, values.share) == expected


@pytest.mark.parametrize("text", ["32x32", "3", "10001", "1e3", "-8", "", "nan", "4.5"])
def test_other_whole_numbers_say_what_is_expected(values: flags.FlagValues, text: str) -> None:
    with pytest.raises(flags.Error, match=r"expected a whole number from 4 to 10,000; or two sides"):
        values(["program", f"--resolution={text}"])


@pytest.mark.parametrize("text", ["half", "-0.1", "1.5", "nan", "inf"])
def test_other_numbers_say_what_is_expected(values: flags.FlagValues, text: str) -> None:
    with pytest.raises(flags.Error, match="expected a number from 0 to 1"):
        values(["program", f"--share={text}"])


def test_prepare_says_it_in_one_sentence() -> None:
    command = [sys.executable, "-m", "inr_gan_jax.data.prepare", "--source=photos", "--resolution=32x32"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == (
        "error: --resolution is '32x32', expected a whole number from 4 to 10,000; --height and --width give two "
        "different sides\n"
    )
