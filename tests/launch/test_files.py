"""What holds for all files of launch/: linters pass, variables are explained, only main is run, nothing is secret."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.launch.documented_arguments import COMMANDS, faults
from tests.launch.launchers import LAUNCH, ROOT

SKYPILOT, DOCKERFILE = LAUNCH / "skypilot.yaml", LAUNCH / "Dockerfile"
SCRIPTS = sorted([*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch")])
FILES = sorted(path for path in LAUNCH.rglob("*") if path.is_file())
# Those that hold the settings of a run; the others are theirs.
SETTINGS = [LAUNCH / name for name in ("tpu_vm.sh", "slurm.sbatch", "gke.sh", "local_multiprocess.sh")]


def linter(name: str) -> str:
    """A program that pip installed beside this interpreter."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or pytest.skip(f"{name} is not installed")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(LAUNCH)) for path in paths]


def test_scripts_satisfy_shellcheck() -> None:
    command = [linter("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR"]
    done = subprocess.run([*command, *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_dockerfile_satisfies_hadolint() -> None:
    command = [linter("hadolint"), "--no-color", str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_dockerfile_copies_what_an_installation_needs() -> None:
    text = DOCKERFILE.read_text()
    copied = {source for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for source in line.split()}
    let_in = {
        line[1:] for line in (LAUNCH / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert all((ROOT / source).exists() for source in copied)
    assert {source.split("/")[0] for source in copied} == let_in
    # What pyproject.toml reads while it installs.
    assert {"pyproject.toml", "requirements.txt", "README.md", "LICENSE", "inr_gan_jax/__init__.py"} <= copied


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_dockerfile_installs_extras_that_exist(device: str) -> None:
    assert re.search(
        rf"^ +[a-z |]*\b{device}\b[a-z |]*\) what=\"\.\[\$\{{DEVICE\}}\]\"", DOCKERFILE.read_text(), re.MULTILINE
    )
    assert re.search(rf"^{device} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", SETTINGS, ids=names(SETTINGS))
def test_variables_stand_at_the_top_with_a_comment(path: Path) -> None:
    text = path.read_text()
    block = re.search(r"^# --- Variables.*?\n(.*?)^# -{20,}$", text, re.MULTILINE | re.DOTALL)
    assert block
    lines = block.group(1).splitlines()
    assert len(lines) > 4
    for line in lines:
        assert re.fullmatch(r"([A-Z_]+)=\$\{\1:-[^}]*\} +# .+", line), line
    known = {line.split("=")[0] for line in lines}
    # No setting is hidden further down.
    elsewhere = set(re.findall(r"\$\{([A-Z_]+):-", text.replace(block.group(1), "")))
    assert elsewhere <= known | {"SLURM_CPUS_PER_TASK", "SLURM_SUBMIT_DIR", "TMPDIR"}
    # Its two places in the block, and one where it is used: here, or in what the launchers share.
    used = text + (LAUNCH / "steps.sh").read_text()
    assert [name for name in known if used.count(name) <= 2] == []


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_launchers_run_nothing_of_ours_but_main(path: Path) -> None:
    text = path.read_text()
    # plan is only named, not run.
    assert set(re.findall(r"-m (inr_gan_jax[\w.]*)", text)) <= {"inr_gan_jax.main", "inr_gan_jax.plan"}
    assert set(re.findall(r"(?:-m|python[\d.]*) (\w+\.py)", text)) == set()


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_launchers_hold_no_credentials(path: Path) -> None:
    secret = (
        r"(?i)(password|token|secret|api_?key|private_key|credentials)\s*[=:]|AIza[\w-]{10,}|-----BEGIN|@[\w-]+\.iam\."
    )
    assert not re.search(secret, path.read_text())


def test_launchers_all_start_training_by_the_script_that_tells_stopped_from_finished() -> None:
    for name in ("on_host.sh", "slurm.sbatch", "gke.sh", "skypilot.yaml", "Dockerfile"):
        assert "launch/train.sh" in (LAUNCH / name).read_text(), name


def test_skypilot_task_has_documented_fields() -> None:
    # https://docs.skypilot.co/en/latest/reference/yaml-spec.html; sky/utils/schemas.py of skypilot 0.14.1 agreed.
    task = yaml.safe_load(SKYPILOT.read_text())
    assert set(task) <= {"name", "workdir", "num_nodes", "resources", "envs", "file_mounts", "setup", "run"}
    resources = task["resources"]
    assert set(resources) <= {"infra", "accelerators", "accelerator_args", "use_spot", "job_recovery", "disk_size"}
    assert set(resources["accelerator_args"]) <= {"runtime_version", "tpu_name", "tpu_vm"}
    assert set(resources["job_recovery"]) <= {"strategy", "max_restarts_on_errors", "recover_on_exit_codes"}
    assert 143 in resources["job_recovery"]["recover_on_exit_codes"]
    assert all(value is None or isinstance(value, str) for value in task["envs"].values())


def run_block(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the block `run` of the task where sky would, with an echo in the place of bash's script."""
    task = yaml.safe_load(SKYPILOT.read_text())
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "train.sh").write_text('printf "%s\\n" "TFDS_DATA_DIR=${TFDS_DATA_DIR-none}" "$@"')
    envs = {name: value or "" for name, value in task["envs"].items()} | variables
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **envs}
    command = ["bash", "-c", task["run"]]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)


def test_skypilot_tpu_hosts_find_each_other(tmp_path: Path) -> None:
    done = run_block(tmp_path, WORKDIR="gs://b/run", DATA_DIR="gs://b/sets", FLAGS="--config.seed=1 --config.name=x")
    assert done.stdout.splitlines() == [
        "TFDS_DATA_DIR=gs://b/sets", "--config=configs/lsun.py:church,release", "--workdir=gs://b/run",
        "--multiprocess", "--expect=tpu", "--config.seed=1", "--config.name=x",
    ]  # fmt: skip


def test_skypilot_gpu_nodes_are_told_their_number(tmp_path: Path) -> None:
    node = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    done = run_block(tmp_path, WORKDIR="gs://b/run", EXPECT="cuda", **node)
    assert {"--coordinator=10.0.0.1:8476", "--num_processes=2", "--process_id=1"} <= set(done.stdout.splitlines())
    assert "TFDS_DATA_DIR=none" in done.stdout


@pytest.mark.parametrize("workdir", ["", "gs://b/my run"], ids=["none", "space"])
def test_skypilot_refuses_a_run_folder_that_cannot_be(tmp_path: Path, workdir: str) -> None:
    done = run_block(tmp_path, WORKDIR=workdir)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "expected a folder in a bucket" in done.stderr


def test_docs_show_documented_commands() -> None:
    # Their settings, as a shell would fill them in.
    settings = {
        "PROJECT": "my-project",
        "BUCKET": "my-bucket",
        "ZONE": "us-west4-a",
        "REGION": "us-west4",
        "IMAGE": "a.example/train:tpu",
    }
    text = (ROOT / "docs" / "cloud.md").read_text()
    for name, value in settings.items():
        text = text.replace(f"${name}", value)
    text += "".join(re.sub("^#", "", path.read_text(), flags=re.MULTILINE) for path in (SKYPILOT, DOCKERFILE))
    blocks = [line.strip() for line in re.sub(r" *\\\n *", " ", text).splitlines() if re.match(r"    |   \w", line)]
    candidates = [line.split("  #")[0].strip() for line in blocks] + re.findall(r"`(\S+ [^`]+)`", text)
    programs = {name.split()[0] for name in COMMANDS}
    commands = [words for line in candidates if (words := line.split()) and words[0] in programs]
    assert len(commands) > 20
    assert [(words, fault) for words in commands for fault in faults(words)] == []
