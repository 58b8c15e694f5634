"""Runs the launchers as a user would, with programs of the tests first on the PATH."""

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch"

# A launcher must find what it needs in its variables, not in what the developer happens to have set.
_KEPT = ("HOME", "LANG", "TMPDIR")


@dataclasses.dataclass(frozen=True)
class Result:
    """How a launcher ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands that it showed, split into words as a shell would."""
        return [shlex.split(line[2:]) for line in self.out.splitlines() if line.startswith("+ ")]

    @property
    def error(self) -> str:
        """The one sentence of its end; the last line on stderr."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


def environment(programs: Path | None = None, **variables: Any) -> dict[str, str]:
    """A small environment: the folder of the fake programs, those of the system, and the variables given."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    folders = [str(programs)] if programs else []
    path = os.pathsep.join([*folders, str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**kept, "PATH": path, **{name: str(value) for name, value in variables.items()}}


def launch(
    script: str,
    *arguments: str,
    programs: Path | None = None,
    root: Path = ROOT,
    stdin: int = subprocess.DEVNULL,
    **variables: object,
) -> Result:
    """Runs a launcher to its end.

    Args:
        script: its path below launch/.
        arguments: behind it.
        programs: folder of fake programs, found before the real ones.
        root: checkout it is started in.
        stdin: a descriptor; no terminal by default.
        variables: of its environment.
    """
    command = ["bash", str(root / "launch" / script), *arguments]
    env = environment(programs, **variables)
    pipe = subprocess.PIPE
    done = subprocess.run(
        command, cwd=root, env=env, stdin=stdin, stdout=pipe, stderr=pipe, text=True, timeout=60, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def started(command: list[str], env: Mapping[str, str], cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A process whose lines can be read while it runs; with all that it started it does not outlive the test."""
    pipe = subprocess.PIPE
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # So it is for tests in the background, and a process would take over that it is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        alarm = threading.Timer(20, _kill_group, [process])
        alarm.start()
        try:
            yield process
        finally:
            alarm.cancel()
            if process.poll() is None:
                _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout
    return process.stdout.readline()


def write_program(path: Path, text: str) -> Path:
    """Writes an executable; Python unless its first line says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # -S and -E: it starts in a third of the time, and nothing of the tests leaks into it.
    path.write_text(text if text.startswith("#!") else f"#!{sys.executable} -ES\n{text}")
    path.chmod(0o755)
    return path


# What launchers ask an interpreter before they run it: whether it has the package, and to check the job.
_ASKED = """
import sys
if sys.argv[1:2] == ["-c"]:
    sys.exit(0)
if "--dry_run" in sys.argv:
    with open(sys.argv[0] + ".checks", "a") as file:
        print(*sys.argv[1:], file=file)
    sys.exit(0)
"""


def write_python(path: Path, text: str = "raise SystemExit(9)") -> Path:
    """Writes a program for the variable PYTHON of a launcher, which stands for inr_gan_jax.main.

    Args:
        path: of the program.
        text: what it does where main would train; it finds the package, and every job good, without it.
    """
    return write_program(path, _ASKED + text)


def checks_of(python: Path) -> list[list[str]]:
    """The arguments of each check of a job that such a program was asked for."""
    record = Path(f"{python}.checks")
    return [line.split() for line in record.read_text().splitlines()] if record.exists() else []


def assert_refused(result: Result, *words: str) -> None:
    """A user's mistake: one sentence that has these words, exit code 2, nothing else."""
    assert result.code == 2, result
    assert result.err.count("\n") == 1, result.err
    assert result.error.startswith("error: "), result.err
    for word in words:
        assert word in result.error


def flags_of(words: list[str]) -> Mapping[str, str]:
    """The flags `--name=value` among words."""
    return dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
