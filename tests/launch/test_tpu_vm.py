"""launch/tpu_vm.sh against a gcloud that checks its arguments and runs commands in folders as hosts."""

import atexit
import functools
import os
import pty
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.documented_arguments import faults
from tests.launch.fake_cloud import MADE_AT, Plan, Slice
from tests.launch.fake_programs import FakePrograms
from tests.launch.launchers import (
    LAUNCH,
    Result,
    assert_refused,
    checks_of,
    flags_of,
    launch,
    write_program,
    write_python,
)

SCRIPT = "tpu_vm.sh"
VARIABLES: dict[str, Any] = {
    "PROJECT": "my-project", "WORKDIR": "gs://my-bucket/runs/church", "DATA_DIR": "gs://my-bucket/tensorflow_datasets",
    "POLL_SECONDS": 0.05,
}  # fmt: skip

# In the place of inr_gan_jax.main: what it has done lies in the run folder; {end} says how a host's first start ends.
TRAINING = """
import os, sys, time
flags = dict(word[2:].split("=", 1) for word in sys.argv[3:] if "=" in word)
folder = os.environ["BUCKET"] + "/" + flags["workdir"].removeprefix("gs://") + "/" + os.environ["HOME"][-1]
os.makedirs(folder, exist_ok=True)
with open(folder + "/starts", "a+") as file:
    print(os.environ.get("TFDS_DATA_DIR"), *sys.argv[1:], file=file)
    file.seek(0)
    count = len(file.readlines())
print(f"start {count}", flush=True)
if count == 1:
    {end}
else:
    time.sleep(0.4)
print("finished")
"""
# python3 -m pip install uv, and uv itself, which makes an interpreter of the program above.
PIP = """#!/bin/bash
mkdir -p "$HOME/.local/bin" && cp "$BUCKET/uv" "$HOME/.local/bin/uv"
"""
UV = """#!/bin/bash
if [ "$1" = venv ]; then mkdir -p "${@: -1}/bin" && cp "$BUCKET/training" "${@: -1}/bin/python"; fi
"""


@functools.cache
def checkout() -> Path:
    """The launchers of this working tree, committed, so that what is not committed yet is tested too."""
    root = Path(tempfile.mkdtemp(prefix="inr_gan_jax_launch_"))
    atexit.register(shutil.rmtree, root)
    shutil.copytree(LAUNCH, root / "launch")
    git = ["git", "-C", str(root), "-c", "user.name=test", "-c", "user.email=test@test.example"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=launchers"]):
        subprocess.run([*git, *words], check=True)
    return root


class Cloud:
    """A fake Google Cloud in a folder."""

    def __init__(self, folder: Path, end: str = "pass", **plan: Any) -> None:
        self.folder = folder
        write_python(folder / "training", TRAINING.replace("{end}", end))
        self.python = write_python(folder / "python")
        write_program(folder / "uv", UV)
        write_program(folder / "host_programs" / "python3", PIP)
        self.slice = Slice(folder, Plan(**plan))
        self._programs = FakePrograms(folder / "programs", ["gcloud"], self.slice.answer)

    def launch(self, *arguments: str, **variables: Any) -> Result:
        programs = self._programs.folder
        return launch(
            SCRIPT, *arguments, programs=programs, root=checkout(), **{**VARIABLES, "PYTHON": self.python, **variables}
        )

    @property
    def calls(self) -> list[list[str]]:
        return self._programs.calls

    def num_calls(self, name: str) -> int:
        return sum(name in " ".join(words) for words in self.calls)

    def starts(self, host: int) -> list[str]:
        """What each start of training on a host was given."""
        return (self.folder / "my-bucket/runs/church" / str(host) / "starts").read_text().splitlines()

    def close(self) -> None:
        self._programs.close()
        assert not self._programs.faults


MakeCloud = Callable[..., Cloud]


@pytest.fixture
def make_cloud(tmp_path: Path) -> Iterator[MakeCloud]:
    """Makes the fake Google Cloud of a test, and looks at the end whether it was called as documented."""
    clouds: list[Cloud] = []

    def make(end: str = "pass", **plan: Any) -> Cloud:
        clouds.append(Cloud(tmp_path, end, **plan))
        return clouds[-1]

    yield make
    for cloud in clouds:
        cloud.close()


def test_tpu_vm_runs_to_the_end_and_gives_the_slice_back(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="time.sleep(0.5)")
    result = cloud.launch("run", "--config.name=it's a run")
    assert result.code == 0, result
    assert "the run is finished; it lies in gs://my-bucket/runs/church" in result.out
    for host in (0, 1):
        assert cloud.starts(host) == [
            "gs://my-bucket/tensorflow_datasets -m inr_gan_jax.main --config=configs/lsun.py:church,release "
            "--workdir=gs://my-bucket/runs/church --multiprocess --expect=tpu --config.name=it's a run"
        ]
    assert (cloud.num_calls("queued-resources create"), cloud.num_calls("queued-resources delete")) == (1, 1)
    assert cloud.slice.states == []


@pytest.mark.slow
def test_tpu_vm_after_a_preemption_asks_again_and_the_run_goes_on(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="time.sleep(60)", preempt=[1])
    result = cloud.launch("run")
    assert result.code == 0, result
    assert "preempted (1 of 100)" in result.out
    names = [" ".join(words[3:5]) for words in cloud.calls if words[4] in {"create", "delete"}]
    assert names == [f"queued-resources {verb}" for verb in ("create", "delete", "create", "delete")]
    first, second = cloud.starts(0)
    # The same command: main finds its checkpoint in the run folder.
    assert first == second
    assert (cloud.folder / "hosts/2-1/inr_gan_jax.ended").read_text() == "0\n"


def test_tpu_vm_asks_again_when_the_slice_goes_while_packages_are_installed(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(suspend_at="on_host.sh install")
    result = cloud.launch("run")
    assert result.code == 0, result
    assert cloud.num_calls("queued-resources create") == 2


@pytest.mark.slow
def test_tpu_vm_starts_a_crashed_run_again_on_its_slice(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="sys.exit(1)")
    result = cloud.launch("run")
    assert result.code == 0, result
    assert cloud.num_calls("queued-resources create") == 1
    assert len(cloud.starts(0)) == len(cloud.starts(1)) == 2


@pytest.mark.slow
def test_tpu_vm_starts_all_again_when_one_host_failed_and_the_others_hang(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end='sys.exit(1) if os.environ["HOME"].endswith("1") else time.sleep(60)')
    result = cloud.launch("run", POLL_SECONDS=0.01)
    assert result.code == 0, result
    assert len(cloud.starts(0)) == len(cloud.starts(1)) == 2


@pytest.mark.slow
def test_tpu_vm_gives_up_on_a_run_that_crashes_again_and_again(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="pass\nif True:\n    sys.exit(1)")
    result = cloud.launch("run", MAX_CRASHES=1)
    assert result.code == 1
    assert result.error.startswith("error: main failed 2 times on a sound slice"), result.err
    assert len(cloud.starts(0)) == 2
    assert cloud.num_calls("queued-resources delete") == 0


def test_tpu_vm_gives_up_after_too_many_preemptions(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="time.sleep(60)", preempt=[1])
    result = cloud.launch("run", MAX_PREEMPTIONS=0)
    assert result.code == 1
    assert "was preempted 1 times and MAX_PREEMPTIONS is 0" in result.error


def test_tpu_vm_does_not_repeat_what_main_refuses(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="sys.exit(2)")
    result = cloud.launch("run")
    assert result.code == 1
    assert result.error.startswith("error: main refused its flags"), result.err
    assert len(cloud.starts(0)) == 1


@pytest.mark.slow
def test_tpu_vm_does_not_take_one_host_that_refused_for_a_mistake(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end='sys.exit(2 if os.environ["HOME"].endswith("1") else 25)')
    result = cloud.launch("run")
    assert result.code == 0, result
    assert len(cloud.starts(0)) == 2


@pytest.mark.slow
def test_tpu_vm_run_that_is_given_again_watches_on(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="time.sleep(1)")
    for command in ("create", "wait", "install", "start", "start", "run"):
        result = cloud.launch(command)
        assert result.code == 0, result
    assert "is there already: watching it" in result.out
    assert cloud.num_calls("queued-resources create") == 1
    assert len(cloud.starts(0)) == 1


def test_tpu_vm_stop_saves_and_says_that_it_is_not_finished(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(end="import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)")
    for command in ("create", "wait", "install", "start", "stop", "status"):
        result = cloud.launch(command, "--yes")
        assert result.code == 0, result
    assert result.out.count("run: ended 143") == 2
    assert result.out.count("last line: start 1") == 2


def at_a_terminal(cloud: Cloud, command: str, answer: str) -> Result:
    """Launches with a terminal, at which a question is answered."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    try:
        return cloud.launch(command, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("command", ["stop", "delete"])
def test_tpu_vm_asks_before_it_stops_or_deletes_and_names_what(make_cloud: MakeCloud, command: str) -> None:
    cloud = make_cloud(end="import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)")
    for each in ("create", "wait", "install", "start"):
        assert cloud.launch(each).code == 0
    refused = at_a_terminal(cloud, command, "n")
    assert refused.code == 1
    for words in ("inr-gan in us-west4-a of project my-project: ACTIVE", MADE_AT, "last line: start 1"):
        assert words in refused.out
    assert "nothing was done to inr-gan" in refused.error
    assert cloud.slice.states == ["ACTIVE"]
    assert "run: running" in cloud.launch("status").out
    agreed = at_a_terminal(cloud, command, "y")
    assert agreed.code == 0, agreed
    if command == "delete":
        assert cloud.slice.states == []
    else:
        assert "run: ended 143" in cloud.launch("status").out
    cloud.slice.take_away()


def test_tpu_vm_deletes_without_a_terminal_where_it_is_told_to(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    assert cloud.launch("create").code == 0
    assert cloud.launch("--yes", "delete").code == 0
    assert cloud.slice.states == []


def test_tpu_vm_does_not_ask_about_what_is_not_there(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    result = at_a_terminal(cloud, "delete", "y")
    assert result.code == 1
    assert "nothing is known of inr-gan" in result.error
    assert cloud.num_calls("queued-resources delete") == 0


@pytest.mark.parametrize(
    ("accelerator", "devices", "hosts"),
    [("v5litepod-1", 1, 1), ("v5litepod-8", 8, 1), ("v6e-16", 16, 4), ("v5litepod-256", 256, 64), ("v5p-8", 4, 1),
     ("v4-32", 16, 4), ("v3-8", 8, 1), ("v2-32", 32, 4)],
)  # fmt: skip
def test_tpu_vm_checks_the_job_for_the_devices_and_hosts_of_the_slice(
    make_cloud: MakeCloud, accelerator: str, devices: int, hosts: int
) -> None:
    cloud = make_cloud()
    assert cloud.launch("create", ACCELERATOR=accelerator).code == 0
    (words,) = checks_of(cloud.python)
    assert f"--for_devices={devices}" in words
    assert f"--for_processes={hosts}" in words
    # The very flags of the job.
    (shown,) = (words for words in cloud.launch("start", "--dry_run").commands if words[0] == "gcloud")
    flags = shlex.split(flags_of(shown)["command"])[4:]
    assert words[-len(flags) :] == flags


@pytest.mark.parametrize(("accelerator", "topology"), [("v5litepod-8", "v5e:2x4"), ("v6e-64", "v6e:8x8")])
def test_tpu_vm_names_the_plan_of_a_slice(make_cloud: MakeCloud, accelerator: str, topology: str) -> None:
    out = make_cloud().launch("create", "-n", ACCELERATOR=accelerator).out
    assert f"-m inr_gan_jax.plan --topology={topology} " in out


def test_tpu_vm_refuses_to_check_for_a_slice_it_does_not_know(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    assert_refused(cloud.launch("create", ACCELERATOR="v9x-8"), "v9x-8", "--no_check")
    assert cloud.calls == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "sentence"),
    [
        ("queued-resources create", "asking for v5litepod-16 failed with exit code 1"),
        ("queued-resources describe", "the state of inr-gan could not be had ten times in a row"),
        ("tpu-vm scp", "sending the code failed with exit code 1"),
        ("tar -xzf", "unpacking the code failed with exit code 1"),
        ("on_host.sh install", "installing the packages failed with exit code 1"),
        ("on_host.sh start", "starting failed with exit code 1"),
        ("on_host.sh status", "nothing could be learnt of inr-gan 20 times in a row"),
        ("queued-resources delete", "deleting inr-gan failed with exit code 1"),
    ],
)
def test_tpu_vm_says_which_step_failed(make_cloud: MakeCloud, piece: str, sentence: str) -> None:
    result = make_cloud(fail={piece: -1}).launch("run", POLL_SECONDS=0.01)
    assert result.code == 1, result
    assert result.error.startswith(f"error: {sentence}"), result.err
    # What gcloud says stands above.
    assert "this fails by plan" in result.err
    assert result.err.count("error: ") == 1


def test_tpu_vm_looks_again_where_the_cloud_did_not_answer_once(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(fail={"queued-resources describe": 3, "on_host.sh status": 2})
    assert cloud.launch("run").code == 0


def test_tpu_vm_gives_up_on_a_request_that_failed(make_cloud: MakeCloud) -> None:
    result = make_cloud(queue=["FAILED"]).launch("run")
    assert result.code == 1
    assert result.error.startswith("error: inr-gan is FAILED instead of ACTIVE"), result.err


@pytest.mark.parametrize("command", ["run", "create", "wait", "install", "start", "status", "logs", "stop", "delete"])
def test_tpu_vm_dry_run_shows_documented_commands_and_calls_none(make_cloud: MakeCloud, command: str) -> None:
    cloud = make_cloud()
    result = cloud.launch(command, "--dry_run")
    assert result.code == 0, result
    assert cloud.calls == []
    commands = [words for words in result.commands if words[0] != "env"]
    assert commands
    assert [fault for words in commands for fault in faults(words)] == []


@pytest.mark.parametrize(
    ("provisioning", "flag"), [("spot", "--spot"), ("reserved", "--reserved"), ("on-demand", None)]
)
def test_tpu_vm_asks_for_the_wanted_kind_of_slice(make_cloud: MakeCloud, provisioning: str, flag: str | None) -> None:
    result = make_cloud().launch("--dry_run", "create", PROVISIONING=provisioning, SERVICE_ACCOUNT="a@b.example")
    words = result.commands[-1]
    assert {"--spot", "--reserved"} & set(words) == ({flag} if flag else set())
    assert flags_of(words)["service-account"] == "a@b.example"


@pytest.mark.parametrize(
    ("accelerator", "runtime"),
    [("v6e-16", "v2-alpha-tpuv6e"), ("v5p-16", "v2-alpha-tpuv5"), ("v5litepod-8", "v2-alpha-tpuv5-lite"),
     ("v4-16", "tpu-ubuntu2204-base")],
)  # fmt: skip
def test_tpu_vm_takes_the_documented_software_of_an_accelerator(
    make_cloud: MakeCloud, accelerator: str, runtime: str
) -> None:
    words = make_cloud().launch("--dry_run", "create", ACCELERATOR=accelerator).commands[-1]
    assert flags_of(words)["runtime-version"] == runtime


def test_tpu_vm_quotes_flags_for_the_shell_of_the_host(make_cloud: MakeCloud) -> None:
    name = "$(touch pwned); `x` 'a' \"b\" *"
    words = make_cloud().launch("--dry_run", "start", f"--config.name={name}").commands[-1]
    assert shlex.split(flags_of(words)["command"])[-1] == f"--config.name={name}"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PROJECT": ""}, ["PROJECT is not set", "tpu_vm.sh"]),
        ({"PROJECT": "My Project"}, ["PROJECT is 'My Project'", "6 to 30"]),
        ({"NAME": "my run"}, ["NAME is 'my run'", "without spaces"]),
        ({"NAME": "a;b"}, ["NAME is 'a;b'"]),
        ({"WORKDIR": ""}, ["WORKDIR is not set", "gs://my-bucket/runs/church"]),
        ({"WORKDIR": "runs/church"}, ["WORKDIR is 'runs/church'", "bucket"]),
        ({"WORKDIR": "gs://my-bucket/my runs"}, ["without spaces"]),
        ({"ZONE": "us-west4"}, ["ZONE is 'us-west4'", "us-west4-a"]),
        ({"ACCELERATOR": "v5e"}, ["ACCELERATOR is 'v5e'", "v5litepod-16"]),
        ({"PROVISIONING": "cheap"}, ["PROVISIONING is 'cheap'", "spot, on-demand or reserved"]),
        ({"CONFIG": "lsun church"}, ["CONFIG is 'lsun church'"]),
        ({"PYTHON_VERSION": "3.10"}, ["PYTHON_VERSION is '3.10'"]),
        ({"DELETE_WHEN_DONE": "maybe"}, ["DELETE_WHEN_DONE is 'maybe'", "yes or no"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_tpu_vm_refuses_mistakes_before_anything_is_done(
    make_cloud: MakeCloud, variables: dict[str, str], words: list[str]
) -> None:
    cloud = make_cloud()
    assert_refused(cloud.launch("run", **variables), *words)
    assert cloud.calls == []


@pytest.mark.parametrize("arguments", [(), ("launch",)], ids=["none", "unknown"])
def test_tpu_vm_refuses_an_unknown_command(make_cloud: MakeCloud, arguments: tuple[str, ...]) -> None:
    assert_refused(make_cloud().launch(*arguments), "expected run, create, wait")
