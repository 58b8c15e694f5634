"""launch/gke: a manifest that fits the JobSet schema, and commands as kubectl and gcluster document them."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.launch.documented_arguments import faults
from tests.launch.fake_programs import Answer, FakePrograms
from tests.launch.launchers import Result, assert_refused, flags_of, launch

SCRIPT = "gke/submit.sh"
SCHEMA = json.loads((Path(__file__).parent / "jobset_schema.json").read_text())
VARIABLES = {
    "PROJECT": "my-project", "WORKDIR": "gs://my-bucket/runs/church", "DATA_DIR": "gs://my-bucket/tensorflow_datasets",
    "IMAGE": "us-docker.pkg.dev/my-project/inr-gan/train:tpu",
}  # fmt: skip


def submit(*arguments: str, programs: Path | None = None, **variables: Any) -> Result:
    return launch(SCRIPT, *arguments, programs=programs, **{**VARIABLES, **variables})


def manifest(*flags: str, **variables: Any) -> dict[str, Any]:
    """The manifest of a dry run, which fits the schema."""
    result = submit("--dry_run", "kubectl", *flags, **variables)
    assert result.code == 0, result
    filled = yaml.safe_load("\n".join(line for line in result.out.splitlines() if not line.startswith("+ ")))
    jsonschema.validate(filled, SCHEMA)
    return filled


def job(filled: dict[str, Any]) -> dict[str, Any]:
    return filled["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod(filled: dict[str, Any]) -> dict[str, Any]:
    return job(filled)["template"]["spec"]


def test_schema_refuses_a_misspelt_field() -> None:
    filled = manifest()
    pod(filled)["restartpolicy"] = "Never"
    with pytest.raises(jsonschema.ValidationError, match="restartpolicy"):
        jsonschema.validate(filled, SCHEMA)


@pytest.mark.parametrize(
    ("accelerator", "topology", "chips", "hosts"),
    [("tpu-v5-lite-podslice", "4x4", 4, 4), ("tpu-v5-lite-podslice", "2x4", 8, 1), ("tpu-v5p-slice", "2x2x4", 4, 4)],
)
def test_jobset_has_a_pod_for_each_host_of_the_slice(accelerator: str, topology: str, chips: int, hosts: int) -> None:
    filled = manifest(ACCELERATOR=accelerator, TOPOLOGY=topology, CHIPS_PER_HOST=chips, NUM_SLICES=2)
    assert filled["spec"]["replicatedJobs"][0]["replicas"] == 2
    assert (job(filled)["parallelism"], job(filled)["completions"]) == (hosts, hosts)
    (container,) = pod(filled)["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": chips}
    selector = pod(filled)["nodeSelector"]
    assert selector["cloud.google.com/gke-tpu-accelerator"] == accelerator
    assert selector["cloud.google.com/gke-tpu-topology"] == topology


def test_jobset_gives_main_its_flags_as_they_are() -> None:
    name = '--config.name=a "b" \\ ${WORKDIR} & #: c'
    (container,) = pod(manifest(name))["containers"]
    # The image starts launch/train.sh with them.
    assert container["args"] == [
        "--config=configs/lsun.py:church,release", "--workdir=gs://my-bucket/runs/church", "--multiprocess",
        "--expect=tpu", name,
    ]  # fmt: skip
    assert {"name": "TFDS_DATA_DIR", "value": VARIABLES["DATA_DIR"]} in container["env"]


def test_jobset_begins_anew_unless_main_refused_its_flags() -> None:
    filled = manifest(MAX_RESTARTS=7)
    assert filled["spec"]["failurePolicy"] == {
        "maxRestarts": 7,
        "rules": [{"name": "refusedFlags", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
    }
    (rule,) = job(filled)["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2]
    # Kubernetes takes a policy for failures only with these.
    assert (job(filled)["backoffLimit"], pod(filled)["restartPolicy"]) == (0, "Never")
    assert rule["onExitCodes"]["containerName"] == pod(filled)["containers"][0]["name"]


@pytest.mark.parametrize("spot", ["yes", "no"])
def test_jobset_goes_to_spot_nodes_only_where_wanted(spot: str) -> None:
    wanted = pod(manifest(SPOT=spot))
    assert ("cloud.google.com/gke-spot" in wanted["nodeSelector"]) == (spot == "yes")
    assert ("tolerations" in wanted) == (spot == "yes")


def test_jobset_leaves_out_what_is_not_set() -> None:
    bare, full = manifest(DATA_DIR=""), manifest(QUEUE="tpus")
    assert "TFDS_DATA_DIR" not in json.dumps(bare)
    assert "queue-name" not in json.dumps(bare)
    assert full["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "tpus"


@pytest.mark.parametrize("name", ["true", "null", "on"])
def test_jobset_takes_names_that_yaml_would_read_as_something_else(name: str) -> None:
    assert manifest(NAME=name)["metadata"]["name"] == name


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Callable[[int], FakePrograms]]:
    made: list[FakePrograms] = []

    def make(code: int) -> FakePrograms:
        def answer(words: list[str]) -> Answer:
            return Answer(err="the cluster is gone\n" if code else "", code=code)

        made.append(FakePrograms(tmp_path / "programs", ["kubectl", "gcluster"], answer))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not each.faults


@pytest.mark.parametrize("way", ["kubectl", "gcluster"])
def test_submission_calls_what_the_dry_run_shows(programs: Callable[[int], FakePrograms], way: str) -> None:
    fake = programs(0)
    result = submit(way, "--config.name=it's", programs=fake.folder)
    assert result.code == 0, result
    (shown,) = result.commands
    assert fake.calls == [shown]
    assert not faults(shown)
    dry = submit("--dry_run", way, "--config.name=it's", programs=fake.folder)
    assert len(fake.calls) == 1
    # The manifest's file has another name each time.
    assert dry.commands[-1] == shown or way == "kubectl"


@pytest.mark.parametrize("way", ["kubectl", "gcluster"])
def test_submission_that_fails_ends_with_one_sentence(programs: Callable[[int], FakePrograms], way: str) -> None:
    result = submit(way, programs=programs(4).folder)
    assert result.code == 1
    assert "failed with exit code 4" in result.error
    assert result.err.count("error: ") == 1


def test_gcluster_starts_the_same_training(programs: Callable[[int], FakePrograms]) -> None:
    (words,) = submit("--dry_run", "gcluster", "--config.name=it's").commands
    flags = flags_of(words)
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
    (words,) = submit("--dry_run", "gcluster", ACCELERATOR=accelerator, TOPOLOGY=topology).commands
    assert flags_of(words)["compute-type"] == compute_type


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"IMAGE": ""}, ["IMAGE is not set", "registry and tag"]),
        ({"IMAGE": "my image"}, ["IMAGE is 'my image'"]),
        ({"NAME": "my run"}, ["NAME is 'my run'", "without spaces"]),
        ({"WORKDIR": "gs://my-bucket/my runs"}, ["WORKDIR is", "without spaces"]),
        ({"TOPOLOGY": "16"}, ["TOPOLOGY is '16'", "4x4"]),
        ({"TOPOLOGY": "3x3"}, ["has 9 chips", "CHIPS_PER_HOST=4"]),
        ({"SPOT": "maybe"}, ["SPOT is 'maybe'", "yes or no"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_submission_refuses_mistakes(variables: dict[str, str], words: list[str]) -> None:
    assert_refused(submit("kubectl", **variables), *words)


def test_submission_refuses_an_unknown_way_and_a_missing_program(tmp_path: Path) -> None:
    assert_refused(submit("helm"), "the way is 'helm'", "kubectl or gcluster")
    assert_refused(submit("gcluster", programs=tmp_path), "gcluster is not on the PATH", "https://")
