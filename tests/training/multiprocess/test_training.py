"""Two real processes of four devices train the tiny demo, are killed, and a single process of eight goes on."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from inr_gan_jax.checkpoint.manager import latest_step
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.distributed.watch import LOST_BEATS
from inr_gan_jax.training import loop
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.run_folder import CONFIG_FILE
from tests.training.multiprocess.groups import (
    COMPILE_FAST,
    Ended,
    environment,
    finish,
    wait_until,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
# A checkpoint and numbers every second step, so that little is lost; samples and one evaluation once at the beginning.
SCHEDULE = {"log_kimg": 0.016, "checkpoint_kimg": 0.016}
METRIC = "metric/pixel_fd"
ONCE = {"sample_kimg": 0.032, "evaluate_kimg": 0.032}
BATCH = 8
# One block and no penalty: what is compiled twice, and sent between processes at each step, is as little as can be.
SMALL = [
    "--config.paper.z_dim=8",
    "--config.paper.mapping_dim=8",
    "--config.paper.num_mapping_layers=1",
    "--config.paper.rank=2",
    "--config.paper.features=(8,)",
    "--config.paper.num_layers=(1,)",
    "--config.paper.num_fourier_features=(4,)",
    "--config.paper.fourier_scale=(3.0,)",
    "--config.paper.max_num_fixed_features=(0,)",
    "--config.paper.to_rgb=(True,)",
    "--config.loss.r1_gamma=0",
    "--config.discriminator.channel_base=32",
    "--config.discriminator.channel_max=4",
    "--config.evaluation.num_samples=64",
    "--config.evaluation.batch_size=64",
    "--config.compilation_cache_dir=",
]


def flags(workdir: Path, **schedule: float) -> list[str]:
    schedule = {**SCHEDULE, **schedule}
    overrides = [f"--config.training.{key}={value}" for key, value in schedule.items()]
    return ["--config=configs/digits.py", f"--workdir={workdir}", *SMALL, *overrides]


@dataclasses.dataclass
class Story:
    """What happened to one run: its folder, how its launcher ended once process 1 was killed, and after how long."""

    workdir: Path
    ended: Ended
    seconds: float
    newest: int


def newest(workdir: Path) -> int:
    return latest_step(workdir / "checkpoints") or 0


def child_of(parent: int, number: int) -> int:
    """The process of a launcher that trains under a number."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == parent and f"--process_id={number}".encode() in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except FileNotFoundError:
            continue
    raise AssertionError(f"process {number} is not there")


def on_eight_devices(workdir: Path, data_root: Path, like: Path, **schedule: float) -> Any:
    """Trains in this process, which has eight devices, with the configuration of another run."""
    values = json.loads((like / CONFIG_FILE).read_text())
    values["training"].update(schedule)
    values["data"]["data_dir"] = str(data_root)
    return loop.train(parse_config(values), workdir)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, digits_root: Path) -> Story:
    workdir = tmp_path_factory.mktemp("story") / "run"
    # Time to end by itself, before the launcher does it.
    variables = {"TFDS_DATA_DIR": str(digits_root), "PYTHON": sys.executable, "GRACE_SECONDS": "60"}
    launcher = subprocess.Popen(
        ["bash", "launch/local_multiprocess.sh", *flags(workdir, **ONCE)], cwd=ROOT, text=True,
        env=environment(**variables, XLA_FLAGS=COMPILE_FAST), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: newest(workdir) >= 6, [launcher])
    os.kill(child_of(launcher.pid, 1), signal.SIGKILL)
    began = time.monotonic()
    ended = finish(launcher, seconds=90)
    return Story(workdir, ended, time.monotonic() - began, newest(workdir))


@pytest.fixture(scope="module")
def resumed(story: Story, digits_root: Path) -> tuple[Story, Any, Any, Path]:
    """The run taken to its end on eight devices of one process, beside one that nothing happened to."""
    length = (story.newest + 2) * BATCH / 1000
    undisturbed = story.workdir.with_name("undisturbed")
    alone = on_eight_devices(undisturbed, digits_root, story.workdir, total_kimg=length, **ONCE)
    disturbed = on_eight_devices(story.workdir, digits_root, story.workdir, total_kimg=length)
    return story, disturbed, alone, undisturbed


def test_killed_process_ends_the_other_within_a_minute_by_name(story: Story) -> None:
    assert LOST_BEATS - 2 < story.seconds < 60
    (sentence,) = [line for line in story.ended.out.splitlines() if line.startswith("[0] error: ")]
    assert sentence == (
        f"[0] error: process 1 of 2 has given no sign of life for {LOST_BEATS} s; the same command resumes from the "
        "newest checkpoint"
    )


def test_launcher_really_trains_and_names_the_killed_process(story: Story) -> None:
    assert story.ended.code == 1
    assert "process 1 of 2 ended by signal 9" in story.ended.error
    lines = story.ended.out.splitlines()
    assert "[0] found 8 cpu devices (cpu) in 2 processes; 4 of them in process 0" in lines
    assert any(line.startswith("[0] digits: starting on 8 cpu devices of 2 processes") for line in lines)
    assert not any(line.startswith("[1] digits: starting") for line in lines)


def test_run_of_two_processes_ends_as_if_undisturbed_on_eight_devices_of_one(resumed: Any) -> None:
    _, disturbed, undisturbed, _ = resumed
    paths = jax.tree_util.tree_flatten_with_path(undisturbed)[0]
    assert len(paths) > 30
    for (path, expected), found in zip(paths, jax.tree.leaves(disturbed), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-5, err_msg=jax.tree_util.keystr(path))


def test_numbers_are_written_once_and_are_those_of_one_process(resumed: Any) -> None:
    story, _, _, undisturbed = resumed
    found, expected = ([line for line in read_metrics(at) if METRIC not in line] for at in (story.workdir, undisturbed))
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for line, other in zip(found, expected, strict=True):
        assert line.keys() == other.keys()
        for name, value in line.items():
            if "time" not in name:
                assert value == pytest.approx(other[name], rel=1e-4, abs=1e-5), (name, line["step"])


def test_metric_is_that_of_one_process(resumed: Any) -> None:
    story, _, _, undisturbed = resumed
    first = [next(line for line in read_metrics(at) if METRIC in line) for at in (story.workdir, undisturbed)]
    assert first[0]["step"] == first[1]["step"] == 4
    assert first[0][METRIC] == pytest.approx(first[1][METRIC], rel=1e-5)


def test_what_is_written_once_lies_in_the_folder_once(resumed: Any) -> None:
    story, _, _, undisturbed = resumed
    pictures = [(folder / "samples" / "0000000032.png").read_bytes() for folder in (story.workdir, undisturbed)]
    assert pictures[0] == pictures[1]
    starts = [json.loads(line) for line in (story.workdir / "starts.jsonl").read_text().splitlines()]
    assert [line["processes"] for line in starts] == [2, 1]
