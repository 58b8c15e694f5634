"""The folder of a run: checks that it may be used, its lock, and the files written at a start."""

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from etils import epath

from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.prepare.preparation import SetIdentity
from inr_gan_jax.errors import UserError
from inr_gan_jax.remote_paths import UnreachableError, check_reachable
from inr_gan_jax.storage import append_line, is_remote, write_whole

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
DATA_FILE = "data.json"
STARTS_FILE = "starts.jsonl"

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
# A run may resume with other values of these keys: they change its length and output, not what it computes.
_FREE_KEYS = {
    "num_devices",
    "sharding",
    "one_cpu_thread",
    "compilation_cache_dir",
    "guard",
    "training",
    "evaluation",
    "data",
}
_FREE_TRAINING_KEYS = {
    "total_kimg", "log_kimg", "sample_kimg", "evaluate_kimg", "checkpoint_kimg", "keep_checkpoints", "keep_every_kimg",
    "sample_grid", "remat",
}  # fmt: skip
_FREE_DATA_KEYS = {"data_dir", "num_threads", "num_workers", "prefetch", "cache_mib"}


def check_run_folder(workdir: epath.Path, config: Config) -> None:
    """Checks, without writing, that a run of this configuration may use the folder.

    Raises:
        UserError: if it is a file, contains other files, or belongs to another configuration.
        UnreachableError: if it cannot be read.
    """
    check_reachable(str(workdir), "--workdir")
    try:
        _check_run_folder(workdir, config)
    except OSError as error:
        raise UnreachableError(f"workdir {workdir} cannot be read ({error.strerror})") from error


def _check_run_folder(workdir: epath.Path, config: Config) -> None:
    if not workdir.exists():
        if is_remote(workdir):
            return
        blocked = next((parent for parent in workdir.parents if parent.exists() and not parent.is_dir()), None)
        if blocked:
            raise UserError(f"workdir {workdir} cannot be created, because {blocked} is a file")
        return
    if not workdir.is_dir():
        raise UserError(f"workdir {workdir} is a file, expected a folder or a path that does not exist yet")
    saved = workdir / CONFIG_FILE
    if not saved.exists():
        if any(workdir.iterdir()):
            raise UserError(
                f"workdir {workdir} has files but no {CONFIG_FILE}, expected an empty folder or a run folder"
            )
        return
    try:
        previous = json.loads(saved.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{saved} cannot be read ({error}), so the run in it cannot be resumed") from error
    if not isinstance(previous, dict):
        raise UserError(f"{saved} is not a configuration, so the run in it cannot be resumed")
    difference = _first_difference(_identity(previous), _identity(dataclasses.asdict(config)), "config")
    if difference:
        raise UserError(f"workdir {workdir} belongs to another configuration: {difference}; choose another --workdir")


def check_data(workdir: epath.Path, identity: SetIdentity | None, name: str) -> None:
    """Checks, without writing, that the data set is the one that the run in a folder started with.

    Args:
        workdir: run folder; it need not exist, and a run without a checkpoint may use another set.
        identity: of the set as it is now; None for a set that never changes.
        name: of the set.

    Raises:
        UserError: if it is another one.
    """
    noted, checkpoints = workdir / DATA_FILE, workdir / CHECKPOINTS
    if identity is None or not (noted.exists() and checkpoints.is_dir() and any(checkpoints.iterdir())):
        return
    try:
        before = SetIdentity(**json.loads(noted.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{noted} cannot be read ({error}); delete it to continue with the set as it is") from error
    before.check_same(identity, name, f"delete {noted} if you know that the images are the same")


def note_data(workdir: epath.Path, identity: SetIdentity | None) -> None:
    """Writes which data set the run in a folder uses, for `check_data`."""
    if identity is not None:
        write_whole(workdir / DATA_FILE, json.dumps(dataclasses.asdict(identity)) + "\n")


def make_run_folder(workdir: epath.Path, config: Config) -> None:
    """Creates the folder and saves the resolved configuration in it.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        (workdir / SAMPLES).mkdir(parents=True, exist_ok=True)
        write_whole(workdir / CONFIG_FILE, config.to_json())
    except OSError as error:
        raise UserError(f"workdir {workdir} cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def lock_run_folder(workdir: epath.Path, seconds: float = 120.0) -> Iterator[None]:
    """Locks the folder against other processes of this machine, after waiting for one that is about to end.

    The lock of a killed process is released. Buckets and file systems without locks are not locked.

    Args:
        workdir: an existing folder.
        seconds: longest wait.

    Raises:
        UserError: if another process still trains there.
    """
    with contextlib.ExitStack() as stack:
        if not is_remote(workdir):
            descriptor = os.open(workdir, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            _wait_for_lock(descriptor, workdir, seconds)
        yield


def _wait_for_lock(descriptor: int, workdir: epath.Path, seconds: float) -> None:
    """Acquires the lock of a folder, if its file system has locks."""
    end, has_told = time.monotonic() + seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise UserError(
                    f"another process trains in workdir {workdir}; wait for its end or choose another --workdir"
                ) from None
        except OSError:
            return
        else:
            return
        if not has_told:
            print(f"another process trains in workdir {workdir}; waiting for its end", file=sys.stderr, flush=True)
            has_told = True
        time.sleep(0.2)


def record_start(workdir: epath.Path) -> None:
    """Appends a line to `starts.jsonl`: command, versions, git commit, devices."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    line = {
        "unix_time": time.time(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        **versions,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processes": jax.process_count(),
    }
    append_line(workdir / STARTS_FILE, json.dumps(line))


def _git_commit() -> str | None:
    """The commit of the running code, marked if files differ from it; None outside of a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that must stay the same when a run is resumed."""
    # JSON turns tuples into lists.
    plain = json.loads(json.dumps(config))
    identity = {key: value for key, value in plain.items() if key not in _FREE_KEYS}
    for section, free in (("training", _FREE_TRAINING_KEYS), ("data", _FREE_DATA_KEYS)):
        keys = plain.get(section)
        identity[section] = {k: v for k, v in keys.items() if k not in free} if isinstance(keys, dict) else keys
    return identity


def _first_difference(old: Any, new: Any, path: str) -> str | None:
    """The first key that differs, with both values."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return None if old == new else f"{path} is {old!r} there and {new!r} here"
    for key in sorted({*old, *new}):
        difference = _first_difference(old.get(key), new.get(key), f"{path}.{key}")
        if difference:
            return difference
    return None
