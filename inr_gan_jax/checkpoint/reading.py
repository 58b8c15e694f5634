"""Reads a checkpoint after checking that it is what was saved, and finds the newest sound one."""

import contextlib
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath

from inr_gan_jax.checkpoint.record import DamagedError, read_record
from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import UserError
from inr_gan_jax.storage import absolute

# Names of the items of a checkpoint.
STATE, DATA = "state", "data"
# File of the position in the data, the same for all processes: the name that grain uses for one process.
POSITION_FILE = "process_0-of-1.json"

_T = TypeVar("_T")


def newest_sound(
    directory: epath.Path, steps: Sequence[int], read: Callable[[epath.Path], _T]
) -> tuple[_T, int, dict[int, str]]:
    """Reads the newest sound checkpoint.

    Returns:
        The result of `read`, its step, and what is wrong with each newer one.

    Raises:
        UserError: if none is sound.
    """
    damaged = {}
    for step in sorted(steps, reverse=True):
        try:
            return read(directory / str(step)), step, damaged
        except DamagedError as error:
            damaged[step] = str(error)
    listed = ", ".join(f"{step} ({reason})" for step, reason in damaged.items())
    raise UserError(
        f"all checkpoints in {directory} are damaged: {listed}; restore a copy of one, or move the folder away to "
        "start again"
    )


def read_checkpoint(
    path: epath.Path, target: _T, iterator: grain.DatasetIterator | None = None, processes: Processes | None = None
) -> _T:
    """Reads a checkpoint and checks everything that is read.

    Args:
        path: of the checkpoint.
        target: pytree of `jax.ShapeDtypeStruct` with shardings; it may be a part of the saved state.
        iterator: set to the saved position, after everything else was found sound; None skips the position.
        processes: that read together; by default this one alone. All get the same result.

    Raises:
        DamagedError: if it differs from what was saved.
        UserError: if it is of another network, or of a run with other data.
    """
    quieten_orbax()
    processes = processes or Processes()
    read_record(path).check_fits(target, path, part=iterator is None)
    problem = processes.broadcast_from_primary(
        "check the files of a checkpoint", lambda: _damage_of_files(path, iterator is None)
    )
    if problem:
        raise DamagedError(problem)
    with _damage_named(path), ocp.PyTreeCheckpointer() as checkpointer:
        arguments = ocp.args.PyTreeRestore(
            item=target,
            restore_args=ocp.checkpoint_utils.construct_restore_args(target),
            partial_restore=iterator is None,
        )
        arrays = checkpointer.restore(absolute(path) / STATE, args=arguments)
    if iterator is not None:
        with _damage_named(path):
            iterator.set_state(json.loads((path / DATA / POSITION_FILE).read_bytes()))
            iterator.start_prefetch()
    return arrays


def _damage_of_files(path: epath.Path, only_state: bool) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is."""
    try:
        read_record(path).check_files(path, f"{STATE}/" if only_state else "")
    except DamagedError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _damage_named(path: epath.Path) -> Iterator[None]:
    """Turns the errors that libraries raise for a damaged checkpoint into one clause."""
    try:
        yield
    except (DamagedError, UserError, MemoryError, jax.errors.JaxRuntimeError):
        raise  # errors of the machine or the user, not of the checkpoint
    except Exception as error:  # orbax, tensorstore and grain raise many kinds
        raise DamagedError(f"it cannot be read: {reason_of(error)}".replace(f"{absolute(path)}/", "")) from error


def reason_of(error: Exception) -> str:
    """What went wrong in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    of_system = re.search(r"os_error_code='(\d+)'", str(error))  # the format of tensorstore
    if of_system:
        return os.strerror(int(of_system.group(1)))
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]


def quieten_orbax() -> None:
    """Silences the tracebacks of orbax and its threads; their errors are raised as one sentence."""
    for name in ("absl", "asyncio"):
        logger = logging.getLogger(name)
        if _is_not_of_orbax not in logger.filters:
            logger.addFilter(_is_not_of_orbax)
    if not isinstance(sys.unraisablehook, _QuietHook):
        sys.unraisablehook = _QuietHook(sys.unraisablehook)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    frames = traceback.extract_tb(record.exc_info[2]) if record.exc_info else []
    return not any("orbax" in path for path in (record.pathname, *(frame.filename for frame in frames)))


class _QuietHook:
    """Passes on all unraisable errors but one: if one array fails, orbax closes the event loop of the others."""

    def __init__(self, passed_on: Callable[[Any], object]) -> None:
        self._passed_on = passed_on

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self._passed_on(unraisable)
