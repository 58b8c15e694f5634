"""launch/gke.sh: one command, as gcluster documents it."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.documented_arguments import faults
from tests.launch.fake_programs import Answer, FakePrograms
from tests.launch.launchers import Result, assert_refused, checks_of, flags_of, launch, write_python

pytestmark = pytest.mark.slow

SCRIPT = "gke.sh"
VARIABLES = {
    "PROJECT": "my-project", "WORKDIR": "gs://my-bucket/runs/church", "DATA_DIR": "gs://my-bucket/tensorflow_datasets",
    "IMAGE": "us-docker.pkg.dev/my-project/inr-gan/train:tpu",
}  # fmt: skip


def submit(*arguments: str, programs: Path | None = None, **variables: Any) -> Result:
    return launch(SCRIPT, *arguments, programs=programs, **{**VARIABLES, **variables})


def shown(*flags: str, **variables: Any) -> list[str]:
    """The command that a dry run shows."""
    result = submit("--dry_run", *flags, **variables)
    assert result.code == 0, result
    assert faults(result.commands[-1]) == []
    return result.commands[-1]


class Cluster:
    """A gcluster, and an interpreter that checks jobs.

    Args:
        folder: of the programs.
    """

    def __init__(self, folder: Path) -> None:
        self.code = 0
        self.python = write_python(folder / "python")
        self.programs = FakePrograms(folder / "programs", ["gcluster"], self._answer)

    def submit(self, *arguments: str, **variables: Any) -> Result:
        return submit(*arguments, programs=self.programs.folder, **{"PYTHON": self.python, **variables})

    def _answer(self, _: list[str]) -> Answer:
        return Answer(err="the cluster is gone\n" if self.code else "", code=self.code)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.programs.close()
    assert not made.programs.faults


def test_submission_calls_what_the_dry_run_shows(cluster: Cluster) -> None:
    result = cluster.submit("--config.name=it's")
    assert result.code == 0, result
    assert cluster.programs.calls == [result.commands[-1]] == [shown("--config.name=it's")]


def test_submission_that_fails_ends_with_one_sentence(cluster: Cluster) -> None:
    cluster.code = 4
    result = cluster.submit()
    assert result.code == 1
    assert "failed with exit code 4" in result.error
    assert result.err.count("error: ") == 1


@pytest.mark.parametrize(
    ("topology", "chips", "slices", "devices", "hosts"),
    [("4x4", 4, 1, 16, 4), ("2x4", 8, 1, 8, 1), ("2x2x4", 4, 2, 32, 8)],
)
def test_job_is_checked_for_all_hosts_of_all_slices(
    cluster: Cluster, topology: str, chips: int, slices: int, devices: int, hosts: int
) -> None:
    result = cluster.submit("--config.seed=1", TOPOLOGY=topology, CHIPS_PER_HOST=chips, NUM_SLICES=slices)
    assert result.code == 0, result
    (words,) = checks_of(cluster.python)
    flags = flags_of(words)
    assert (flags["for_devices"], flags["for_processes"], flags["config.seed"]) == (str(devices), str(hosts), "1")
    assert "--noshared_disk" in words
    assert flags_of(cluster.programs.calls[0])["num-slices"] == str(slices)


def test_gcluster_starts_the_same_training() -> None:
    flags = flags_of(shown("--config.name=it's"))
    assert shlex.split(flags["command"]) == [
        "env", f"TFDS_DATA_DIR={VARIABLES['DATA_DIR']}", "bash", "launch/train.sh",
        "--config=configs/lsun.py:church,release", "--workdir=gs://my-bucket/runs/church", "--multiprocess",
        "--expect=tpu", "--config.name=it's",
    ]  # fmt: skip
    # What is not listed fails the job for good: 2, the flags, must not be.
    assert "2" not in flags["restart-on-exit-codes"].split(",")
    assert "143" in flags["restart-on-exit-codes"].split(",")


@pytest.mark.parametrize(
    ("accelerator", "topology", "compute_type"),
    [("tpu-v5-lite-podslice", "4x8", "v5litepod-32"), ("tpu-v6e-slice", "4x4", "v6e-16"),
     ("tpu-v5p-slice", "2x2x2", "v5p-8"), ("tpu-v4-podslice", "2x2x2", "v4-16")],
)  # fmt: skip
def test_gcluster_names_the_slice_as_its_table_does(accelerator: str, topology: str, compute_type: str) -> None:
    assert flags_of(shown(ACCELERATOR=accelerator, TOPOLOGY=topology))["compute-type"] == compute_type


@pytest.mark.parametrize("spot", ["yes", "no"])
def test_job_goes_to_spot_nodes_only_where_wanted(spot: str) -> None:
    assert ("--node-constraint=cloud.google.com/gke-spot=true" in shown(SPOT=spot)) == (spot == "yes")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"IMAGE": ""}, ["IMAGE is not set", "registry and tag"]),
        ({"IMAGE": "my image"}, ["IMAGE is 'my image'"]),
        ({"NAME": "my run"}, ["NAME is 'my run'", "without spaces"]),
        ({"WORKDIR": "gs://my-bucket/my runs"}, ["WORKDIR is", "without spaces"]),
        ({"TOPOLOGY": "16"}, ["TOPOLOGY is '16'", "4x4"]),
        ({"TOPOLOGY": "3x3"}, ["has 9 chips", "CHIPS_PER_HOST=4"]),
        ({"ACCELERATOR": "tpu-v9"}, ["ACCELERATOR is 'tpu-v9'", "tpu-v6e-slice"]),
        ({"SPOT": "maybe"}, ["SPOT is 'maybe'", "yes or no"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_submission_refuses_mistakes(cluster: Cluster, variables: dict[str, str], words: list[str]) -> None:
    assert_refused(cluster.submit(**variables), *words)
    assert cluster.programs.calls == []


def test_submission_refuses_a_missing_program(tmp_path: Path) -> None:
    assert_refused(submit(programs=tmp_path), "gcluster is not on the PATH", "https://")
