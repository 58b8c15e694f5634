"""How commands begin: --help without loading anything heavy, and mistakes in flags and configuration files."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inr_gan_jax.cli.command import read_config
from inr_gan_jax.config.parse import Config
from inr_gan_jax.errors import UserError
from tests.test_imports import PACKAGE, ROOT

# Of ml_collections, about how Python loads files.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in PACKAGE.rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "grain", "tensorflow", "tensorflow_datasets"}
HEAVY |= {"sklearn", "scipy", "matplotlib", "fastapi", "uvicorn"}
# Half a second of processor time is usual; the interpreter itself takes a fifth of it.
MAX_CPU_SECONDS = 4.0


def run_command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_commands_are_found() -> None:
    assert {"inr_gan_jax.main", "inr_gan_jax.viewer", "inr_gan_jax.tools.probe_keypoints"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_ends_well_and_loads_nothing_heavy(module: str) -> None:
    started = os.times()
    done = run_command("-X", "importtime", "-m", module, "--help", cwd=ROOT)
    ended = os.times()
    assert done.returncode == 0
    assert "--" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "absl.flags" in loaded
    assert not HEAVY & loaded
    spent = ended.children_user + ended.children_system - started.children_user - started.children_system
    assert spent < MAX_CPU_SECONDS


def test_unknown_flag_names_flags_of_the_command_only() -> None:
    done = run_command("-m", "inr_gan_jax.evaluate", "--log_dirs=x", cwd=ROOT)
    assert done.returncode == 2
    assert "--log_dirs" in done.stderr
    assert "--log_dir;" not in done.stderr
    assert "--data_dir" in done.stderr
    done = run_command("-m", "inr_gan_jax.main", "--wrkdir=x", cwd=ROOT)
    assert "nearest: --workdir" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["evaluate"], "--metrics is missing"), (["tools.sample", "--seeds=oops"], "seeds are 'oops'")],
)
def test_workdir_is_the_checkpoint(arguments: list[str], said: str) -> None:
    """Nothing else is missing then."""
    module, *more = arguments
    done = run_command("-m", f"inr_gan_jax.{module}", "--workdir=gone", *more, cwd=ROOT)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("augment.ada_kimg=1", "unknown key config.augment.ada_kimg; nearest: kimg"),
        ("augmnt.kimg=1", "unknown key config.augmnt; nearest: augment"),
        ("zzz=1", "unknown key config.zzz; known: augment, "),
        ("paper.featres[0]=1", "unknown key config.paper.featres; nearest: features"),
        ("seed.deeper=1", "config.seed.deeper cannot be set: config.seed is 0"),
    ],
)
def test_override_of_no_key_names_the_nearest(override: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read_config(["--config=configs/digits.py:relativistic", f"--config.{override}"])


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "get_config"),
        ("def get_config():\n    return 3", "returns 3"),
        ("def get_config():\n    return 1 / 0", "ZeroDivisionError"),
        ("def get_config(:", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_wrong_configuration_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_config([f"--config={path}"])
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_plain_dict_is_a_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, "from configs import digits\ndef get_config():\n    return digits.get_config().to_dict()")
    config = read_config([f"--config={path}", "--config.seed=3", "--config.augment.kimg=7.0"])
    assert (Config.from_config_dict(config).seed, config.augment.kimg) == (3, 7.0)
    with pytest.raises(UserError, match=r"unknown key config\.augment\.ada_kimg; nearest: kimg"):
        read_config([f"--config={path}", "--config.augment.ada_kimg=1"])


def test_section_that_the_file_lacks_is_told_from_a_typo(tmp_path: Path) -> None:
    path = write(tmp_path, "def get_config():\n    return {'seed': 1}")
    with pytest.raises(UserError, match=r"config\.guard is not in .*mine\.py"):
        read_config([f"--config={path}", "--config.guard.action=log"])


@pytest.mark.parametrize("is_shipped", [True, False])
def test_configuration_is_found_from_another_folder(tmp_path: Path, is_shipped: bool) -> None:
    """Where only the package is on the search path, as after an installation."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "inr_gan_jax").symlink_to(PACKAGE)
    path = ROOT / "configs" / "digits.py"
    if not is_shipped:
        path = write(tmp_path, "from configs import digits\n\ndef get_config():\n    return digits.get_config()\n")
    # Ends before JAX is loaded.
    program = (
        "from inr_gan_jax.cli.command import read_config\n"
        f"print(read_config(['--config={path}', '--config.seed=5']).seed)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = run_command("-c", program, cwd=tmp_path, env=environment)
    assert (done.stdout, done.returncode) == ("5\n", 0), done.stderr
