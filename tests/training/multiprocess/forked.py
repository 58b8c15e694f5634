"""Processes that begin at once: forked from a server that has imported JAX and our package, not started anew."""

import atexit
import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# Only what starts no thread and looks for no device when it is imported.
_CONTEXT.set_forkserver_preload(
    ["inr_gan_jax.cli.command", "inr_gan_jax.distributed.processes", "inr_gan_jax.checkpoint.manager"]
)


class Member:
    """A process that runs a Python program; used like a `subprocess.Popen` whose output is kept as text.

    Args:
        program: source.
        words: `sys.argv` from its second word on.
        variables: of its environment, beside those of this process.
    """

    def __init__(self, program: str, words: list[str], variables: dict[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._process = _CONTEXT.Process(target=_run, args=(program, words, variables, self._folder), daemon=True)
        for name in ("out", "err"):
            (self._folder / name).touch()
        self._lines = self._written()
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def line(self) -> str:
        """The next line of its output; nothing when it ended without one."""
        return next(self._lines, "")

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for its end and returns all that it wrote.

        Raises:
            subprocess.TimeoutExpired: if it does not end in time.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("member", timeout or 0)
        return self._text("out"), self._text("err")

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text()

    def _written(self) -> Iterator[str]:
        with (self._folder / "out").open() as file:
            begun = ""
            while True:
                has_ended = self.poll() is not None
                begun += file.readline()
                if begun.endswith("\n"):
                    yield begun
                    begun = ""
                elif has_ended:
                    return
                else:
                    time.sleep(0.005)


def _run(program: str, words: list[str], variables: dict[str, str], folder: Path) -> None:
    """What the forked process does."""
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_APPEND), stream)
    os.environ.update(variables)
    import jax

    # Read from the environment when JAX was imported, in the server.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    sys.argv = ["-c", *words]
    try:
        exec(compile(program, "<member>", "exec"), {"__name__": "__main__"})
    finally:
        # A forked process leaves these out, and JAX waits for the others in one of them.
        atexit._run_exitfuncs()
