"""Places in buckets, where a program can use them and where it cannot."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from etils.epath import backend

from inr_gan_jax.errors import UserError
from inr_gan_jax.remote_paths import check_local, check_reachable
from tests.training.fake_bucket import make_fake_bucket

ROOT = Path(__file__).resolve().parents[1]


def test_paths_on_a_disk_and_buckets_that_answer_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = make_fake_bucket(tmp_path, monkeypatch)
    for path in ("", "runs/mine", "~/runs", f"{bucket}/runs/mine"):
        check_reachable(path, "--workdir")


def test_a_missing_package_is_named_with_the_flag_and_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any, path: Any) -> Any:
        raise ImportError("Please install it")

    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", missing)
    with pytest.raises(UserError, match=r"--workdir=gs://b/run needs the package gcsfs.*pip install gcsfs"):
        check_reachable("gs://b/run", "--workdir")
    with pytest.raises(UserError, match=r"--workdir=ftp://b/run starts with ftp://, expected .* gs://"):
        check_reachable("ftp://b/run", "--workdir")


def test_programs_of_the_disk_refuse_buckets_in_any_flag() -> None:
    values = {"--checkpoint": "runs/digits", "--seeds": "0-3", "--images": ["a.png", "gs://b/1.png"], "--count": 3}
    with pytest.raises(UserError, match=r"^--images=gs://b/1.png is not on a disk"):
        check_local(values)
    with pytest.raises(UserError, match=r"^gs://b/set is not on a disk"):
        check_local({"the folder of a set": ["gs://b/set"]})
    check_local({"--workdir": "gs://b/run", "--data_dir": "gs://b/sets"}, may_be_remote=("--workdir",))


@pytest.mark.parametrize("flags", [["--source=gs://b/photos"], ["--source=photos", "--output=gs://b/set"]])
def test_a_command_says_so_before_any_work(flags: list[str]) -> None:
    command = [sys.executable, "-m", "inr_gan_jax.data.prepare", "--resolution=32", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert f"error: {flags[-1]} is not on a disk" in done.stderr
