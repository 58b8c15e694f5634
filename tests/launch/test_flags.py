"""What holds for every launcher: a dry run never acts, help is help, a misspelt flag or a bad job starts nothing."""

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from inr_gan_jax import main
from tests.launch.launchers import LAUNCH, ROOT, Result, assert_refused, launch, write_program, write_python

# Everything that a launcher might call to act.
PROGRAMS = (
    "gcloud", "gcluster", "kubectl", "sbatch", "srun", "scancel", "scontrol", "python", "python3", "git", "nohup",
    "setsid", "tar",
)  # fmt: skip
FLAG = "--config.seed=1"
CONFIG = "--config=configs/digits.py"
BUCKET = {"PROJECT": "my-project", "IMAGE": "a.example/train:tpu", "WORKDIR": "gs://my-bucket/run"}
SHARED = {"WORKDIR": "/shared/run"}
_VERBS = ("run", "create", "wait", "install", "start", "status", "logs", "stop", "delete")


@dataclasses.dataclass(frozen=True)
class Call:
    """A launcher and a command line that it acts on.

    Args:
        script: below launch/.
        words: of the command line.
        variables: that it needs.
    """

    script: str
    words: tuple[str, ...]
    variables: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.script, *self.words[:1]])


CALLS = [
    *[Call("tpu_vm.sh", (verb, FLAG) if verb in {"run", "create", "start"} else (verb,), BUCKET) for verb in _VERBS],
    Call("gke.sh", (CONFIG, FLAG), BUCKET),
    Call("slurm.sbatch", (CONFIG, FLAG), SHARED),
    Call("local_multiprocess.sh", (CONFIG, FLAG)),
    Call("train.sh", (CONFIG, FLAG)),
    Call("on_host.sh", ("install", "3.12")),
    Call("on_host.sh", ("start", "", CONFIG)),
    Call("on_host.sh", ("attend", CONFIG)),
    *[Call("on_host.sh", (verb,)) for verb in ("status", "stop")],
]
# Those that look at the job before they act.
CHECKED = [
    *[call for call in CALLS if call.script == "tpu_vm.sh" and len(call.words) > 1],
    *[call for call in CALLS if call.script in {"gke.sh", "slurm.sbatch", "local_multiprocess.sh"}],
]
all_calls = pytest.mark.parametrize("call", CALLS, ids=str)
checked_calls = pytest.mark.parametrize("call", CHECKED, ids=str)


class Machine:
    """A machine whose programs must not be called, with an empty home.

    Args:
        folder: of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.programs, self._record = folder / "home", folder / "programs", folder / "called"
        self.home.mkdir()
        for name in PROGRAMS:
            write_program(self.programs / name, f'#!/bin/bash\necho {name} "$@" >>{self._record}\nexit 7\n')

    def launch(self, call: Call, *words: str, **variables: Any) -> Result:
        settings = {"HOME": self.home, "TMPDIR": self.home, **call.variables, **variables}
        return launch(call.script, *words, programs=self.programs, **settings)

    def assert_untouched(self) -> None:
        assert self.called() == []
        assert list(self.home.iterdir()) == []

    def called(self) -> list[str]:
        return self._record.read_text().splitlines() if self._record.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def with_word(words: tuple[str, ...], word: str) -> Iterator[list[str]]:
    """The words with one more, in every place."""
    for place in range(len(words) + 1):
        yield [*words[:place], word, *words[place:]]


@all_calls
def test_dry_run_in_any_place_shows_and_touches_nothing(machine: Machine, call: Call) -> None:
    for spelling in ("--dry_run", "--dry-run", "-n"):
        for words in with_word(call.words, spelling):
            result = machine.launch(call, *words)
            assert (result.code, result.err) == (0, ""), (words, result)
            machine.assert_untouched()
            if call.words[0] not in {"status", "stop"} or call.script != "on_host.sh":
                assert result.commands, words
            # main has a flag of the same name: what is shown for the job itself has none.
            acting = [words for words in result.commands if not any("--for_devices" in word for word in words)]
            assert [words for words in acting if spelling in words or "--dry" in " ".join(words)] == []


@all_calls
def test_help_in_any_place_is_help(machine: Machine, call: Call) -> None:
    for words in with_word(call.words, "--help"):
        result = machine.launch(call, *words)
        assert (result.code, result.err) == (0, ""), (words, result)
        assert "--dry_run" in result.out
        assert [line for line in result.out.splitlines() if line.startswith(("#", "set "))] == []
        machine.assert_untouched()
    variables = re.findall(r"^([A-Z_]+)=\$\{", (LAUNCH / call.script).read_text(), re.MULTILINE)
    assert [name for name in variables if f"  {name} (" not in result.out] == []


@pytest.mark.parametrize(
    "misspelt",
    [
        "--dryrun",
        "--dry_rnu",
        "--dry",
        "-dry_run",
        "--DRY_RUN",
        "--dry_run=true",
        "--dry_run=false",
        "--nodry_run",
        "-N",
    ],
)
# Only start calls attend, and has looked at its words.
@pytest.mark.parametrize("call", [call for call in CALLS if call.words[0] != "attend"], ids=str)
def test_misspelt_flag_starts_nothing(machine: Machine, call: Call, misspelt: str) -> None:
    words = [*call.words, misspelt]
    assert_refused(machine.launch(call, *words), misspelt)
    machine.assert_untouched()


@pytest.mark.parametrize(("word", "sentence"), [("--confg.seed=1", "'--confg.seed=1'"), ("stray", "'stray'")])
@checked_calls
def test_what_main_does_not_know_starts_nothing(machine: Machine, call: Call, word: str, sentence: str) -> None:
    assert_refused(machine.launch(call, *call.words, word), sentence)
    machine.assert_untouched()


def test_flags_before_the_command_are_one_sentence(machine: Machine) -> None:
    call = Call("tpu_vm.sh", (FLAG, "create"), BUCKET)
    assert_refused(machine.launch(call, *call.words), FLAG, "stand behind it")
    machine.assert_untouched()


@pytest.mark.parametrize("verb", ["wait", "install", "status", "logs", "stop", "delete"])
def test_commands_that_start_no_training_take_no_flags_of_it(machine: Machine, verb: str) -> None:
    assert_refused(machine.launch(Call("tpu_vm.sh", (), BUCKET), verb, FLAG), verb, FLAG)
    machine.assert_untouched()


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_stop_and_delete_ask_and_without_a_terminal_do_nothing(machine: Machine, verb: str) -> None:
    assert_refused(machine.launch(Call("tpu_vm.sh", (), BUCKET), verb), verb, "inr-gan", "terminal", "--yes")
    machine.assert_untouched()


REFUSING = """
import sys
if sys.argv[1:2] == ["-c"]:
    sys.exit(0)
assert "--dry_run" in sys.argv
print("error: config.training.batch_size is 7", file=sys.stderr)
sys.exit(2)
"""


@checked_calls
def test_job_that_main_refuses_starts_nothing(machine: Machine, call: Call, tmp_path: Path) -> None:
    python = write_program(tmp_path / "refusing", REFUSING)
    assert_refused(machine.launch(call, *call.words, PYTHON=python), "config.training.batch_size is 7")
    machine.assert_untouched()


@checked_calls
def test_job_that_cannot_be_checked_starts_nothing(machine: Machine, call: Call, tmp_path: Path) -> None:
    python = write_program(tmp_path / "crashing", REFUSING.replace("sys.exit(2)", "sys.exit(1)"))
    result = machine.launch(call, *call.words, PYTHON=python)
    assert result.code == 1
    assert "exit code 1" in result.error
    assert "--no_check" in result.error
    machine.assert_untouched()


@pytest.mark.parametrize("call", [call for call in CHECKED if call.script != "local_multiprocess.sh"], ids=str)
def test_no_check_acts_without_a_check(machine: Machine, call: Call, tmp_path: Path) -> None:
    python = write_program(tmp_path / "refusing", REFUSING)
    result = machine.launch(call, *call.words, "--no_check", PYTHON=python)
    assert machine.called(), result
    assert all(line.split()[0] in {"gcloud", "gcluster", "sbatch"} for line in machine.called())


MISTAKES = {
    "typo": (["--config.training.batchsize=8"], "config.training.batchsize"),
    "batch": (["--config.training.batch_size=7", "--config.discriminator.mbstd_group_size=1"], "batch_size is 7"),
    "set": (["--config.data.name=phots", "--config.training.batch_size=16"], "'phots'"),
}


def refused_by_main(machine: Machine, call: Call, mistake: str) -> None:
    """Launches a job with a mistake, which the real main is to find."""
    added, words = MISTAKES[mistake]
    # Libraries keep caches in the home.
    variables = {"PYTHON": sys.executable, "TFDS_DATA_DIR": machine.home, "PYTHONPATH": ROOT, "HOME": Path.home()}
    result = machine.launch(call, *call.words, CONFIG, *added, **variables)
    assert_refused(result, words)
    machine.assert_untouched()


def test_typo_stops_before_the_cloud_is_called(machine: Machine) -> None:
    refused_by_main(machine, CHECKED[0], "typo")


@pytest.mark.slow
@pytest.mark.parametrize("mistake", sorted(MISTAKES))
@checked_calls
def test_mistake_in_a_job_stops_it_before_anything_is_called(machine: Machine, call: Call, mistake: str) -> None:
    refused_by_main(machine, call, mistake)


@pytest.mark.slow
def test_job_without_a_mistake_is_described_and_started(machine: Machine) -> None:
    call = Call("slurm.sbatch", (CONFIG, FLAG), {**SHARED, "NODES": "1"})
    result = machine.launch(call, *call.words, PYTHON=sys.executable, PYTHONPATH=ROOT)
    assert "digits fits 8 devices of 8 processes" in result.out, result
    assert [line.split()[0] for line in machine.called()] == ["sbatch"]


# As an interpreter that was only installed: nothing but Python's own library.
BARE = f'#!/bin/bash\nexec {sys.executable} -IS "$@"\n'


@pytest.mark.parametrize("call", [*CHECKED, Call("train.sh", (CONFIG,))], ids=str)
def test_interpreter_without_the_package_is_one_sentence(machine: Machine, call: Call, tmp_path: Path) -> None:
    python = write_program(tmp_path / "bare", BARE)
    assert_refused(
        machine.launch(call, *call.words, PYTHON=python), str(python), "PYTHON=.venv/bin/python", "pip install"
    )
    machine.assert_untouched()


def test_slurm_job_without_the_package_says_so_once_and_not_in_every_process(machine: Machine, tmp_path: Path) -> None:
    python = write_program(tmp_path / "bare", BARE)
    call = Call("slurm.sbatch", (CONFIG,), {"SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(ROOT)})
    assert_refused(machine.launch(call, *call.words, PYTHON=python), str(python))
    machine.assert_untouched()


@pytest.mark.parametrize("script", ["train.sh", "local_multiprocess.sh"])
def test_environment_beside_the_launchers_is_found(machine: Machine, script: str, tmp_path: Path) -> None:
    root = tmp_path / "the checkout"
    shutil.copytree(LAUNCH, root / "launch")
    write_python(root / ".venv/bin/python", "print('of .venv')")
    result = launch(script, CONFIG, programs=machine.programs, root=root)
    assert result.code == 0, result
    assert "of .venv" in result.out
    # One that was named counts more.
    named = write_python(tmp_path / "named", "print('named')")
    assert "of .venv" not in launch(script, CONFIG, programs=machine.programs, root=root, PYTHON=named).out


def test_active_environment_counts_before_the_one_beside_the_launchers(machine: Machine, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    shutil.copytree(LAUNCH, root / "launch")
    write_python(root / ".venv/bin/python", "print('of .venv')")
    write_python(tmp_path / "active/bin/python", "print('active')")
    result = launch("train.sh", CONFIG, programs=machine.programs, root=root, VIRTUAL_ENV=tmp_path / "active")
    assert result.out == "active\n"


def test_train_passes_on_every_flag_of_main_that_training_has(tmp_path: Path) -> None:
    python = write_python(tmp_path / "python", "import sys; print(*sys.argv[1:])")
    names = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(main)}
    of_the_check = {"dry_run", "for_devices", "for_processes", "shared_disk"}
    assert of_the_check < names
    given = [f"--{name}" if name == "multiprocess" else f"--{name}=1" for name in sorted(names - of_the_check)]
    result = launch("train.sh", *given, PYTHON=python)
    assert result.out == " ".join(["-m", "inr_gan_jax.main", *given]) + "\n", result
