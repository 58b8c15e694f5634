"""A Google Cloud of one project: a gcloud that knows one slice of TPU VMs, whose hosts are folders."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.launch.documented_arguments import command_name
from tests.launch.fake_programs import Answer
from tests.launch.launchers import flags_of

MADE_AT = "2026-01-02T03:04:05.678Z"
_NOT_FOUND = Answer(err="ERROR: NOT_FOUND: Resource was not found.\n", code=1)
_NOT_READY = Answer(err="ERROR: the TPU is not READY\n", code=1)


@dataclasses.dataclass
class Plan:
    """What shall happen.

    Args:
        num_hosts: of a slice.
        fail: commands that fail, by a piece of their text, and how often.
        preempt: numbers of the slices (from 1) that are taken away once their run has been seen running.
        suspend_at: piece of a command; the first slice is taken away when it is called.
        queue: states that a request goes through, one a look.
    """

    num_hosts: int = 2
    fail: dict[str, int] = dataclasses.field(default_factory=dict)
    preempt: tuple[int, ...] = ()
    suspend_at: str = ""
    queue: tuple[str, ...] = ("WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")


class Slice:
    """The queued resource and its hosts.

    Args:
        folder: of the hosts; each slice has its own in it.
        plan: what shall happen.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self.num_made = 0
        self.states: list[str] = []  # the first is what the next look sees; without any there is no request

    def hosts(self) -> list[Path]:
        return [self._folder / f"hosts/{self.num_made}-{number}" for number in range(self._plan.num_hosts)]

    def answer(self, words: list[str]) -> Answer:
        """Does what a call of gcloud says."""
        text, name = " ".join(words), command_name(words)
        for piece, times in self._plan.fail.items():
            if piece in text and times:
                self._plan.fail[piece] -= 1
                return Answer(err=f"ERROR: ({name}) this fails by plan\n", code=1)
        if self._plan.suspend_at and self._plan.suspend_at in text and self.num_made == 1:
            self.take_away()
        actions = {
            "queued-resources create": self._create,
            "queued-resources describe": self._describe,
            "queued-resources delete": self._delete,
            "tpu-vm describe": self._describe_node,
            "tpu-vm scp": self._copy,
            "tpu-vm ssh": self._run,
        }
        return actions[name.removeprefix("gcloud compute tpus ")](words[len(name.split()) :])

    def take_away(self) -> None:
        """Preempts the slice: its processes die, and its request is suspended."""
        for host in self.hosts():
            pid = host / "inr_gan_jax.pid"
            if pid.exists():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(os.getpgid(int(pid.read_text())), signal.SIGKILL)
        self.states = ["SUSPENDING", "SUSPENDING", "SUSPENDED"]

    def _is_active(self) -> bool:
        return self.states == ["ACTIVE"]

    def _create(self, _: list[str]) -> Answer:
        if self.states:
            return Answer(err="ERROR: ALREADY_EXISTS: Resource already exists.\n", code=1)
        self.num_made += 1
        self.states = list(self._plan.queue)
        for host in self.hosts():
            host.mkdir(parents=True)
        return Answer()

    def _describe(self, arguments: list[str]) -> Answer:
        if not self.states:
            return _NOT_FOUND
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        since = f"\t{MADE_AT}" if "createTime" in flags_of(arguments)["format"] else ""
        return Answer(f"{state}{since}\n")

    def _delete(self, _: list[str]) -> Answer:
        if self.states[:1] == ["SUSPENDING"]:
            return Answer(err="ERROR: FAILED_PRECONDITION: the request is SUSPENDING\n", code=1)
        self.states = []
        return Answer()

    def _describe_node(self, _: list[str]) -> Answer:
        return Answer("READY\n" if self._is_active() else "PREEMPTED\n")

    def _copy(self, arguments: list[str]) -> Answer:
        if not self._is_active():
            return _NOT_READY
        source, target = (word for word in arguments if not word.startswith("--"))
        for host in self._chosen(arguments):
            shutil.copy(source, host / target.split(":", 1)[1])
        return Answer()

    def _chosen(self, arguments: list[str]) -> list[Path]:
        """The hosts that a command is for; the first when it does not say."""
        which = flags_of(arguments).get("worker", "0")
        return self.hosts() if which == "all" else [self.hosts()[int(which)]]

    def _run(self, arguments: list[str]) -> Answer:
        if not self._is_active():
            return _NOT_READY
        flags, out = flags_of(arguments), ""
        hosts = self._chosen(arguments)
        for host in hosts:
            path = f"{self._folder / 'host_programs'}{os.pathsep}{os.environ['PATH']}"
            env = {**os.environ, "HOME": str(host), "PATH": path, "BUCKET": str(self._folder), "STOP_SECONDS": "2"}
            command = ["bash", "-c", flags["command"]]
            done = subprocess.run(command, cwd=host, env=env, capture_output=True, text=True, check=False)
            out += done.stdout
            if done.returncode:
                return Answer(out, done.stderr, done.returncode)
        if self.num_made in self._plan.preempt and out.count("run: running") == len(hosts):
            self.take_away()
        return Answer(out)
