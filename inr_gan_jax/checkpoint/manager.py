"""Saves and restores checkpoints: a pytree of arrays and the position in the data, checked when read."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from inr_gan_jax.checkpoint.reading import (
    DATA,
    POSITION_FILE,
    STATE,
    newest_sound,
    quieten_orbax,
    read_checkpoint,
    reason_of,
)
from inr_gan_jax.checkpoint.record import CheckpointRecord, DamagedError, describe_arrays, read_record
from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import MachineError, UserError
from inr_gan_jax.storage import absolute, is_remote, move_folder

# Damaged checkpoints are moved to this folder next to the folder of the checkpoints.
DAMAGED = "damaged-checkpoints"

_PARTIAL = ocp.utils.TMP_DIR_SUFFIX
# The last file that orbax writes into a checkpoint in a bucket.
_COMMITTED = "commit_success.txt"
# Seconds until background threads of a failed checkpoint have stopped writing.
_LATE_WRITES = 0.5

_T = TypeVar("_T")


class CheckpointNotWrittenError(MachineError):
    """A checkpoint could not be written; older ones are intact, and a later save may succeed."""


class DamagedCheckpointError(UserError):
    """A checkpoint differs from what was saved."""


class Checkpointer:
    """Writes checkpoints in the background, deletes old ones and restores the newest sound one.

    Several processes write and read together, each its part of the arrays, in one folder that all see; they call the
    same methods in the same order. The primary process does the rest and decides which checkpoint is restored.

    Args:
        directory: of the checkpoints; created by the first save. Remains of an interrupted save are removed.
        keep: number of newest checkpoints to keep.
        keep_every: checkpoints whose step is a multiple of it are also kept; 0 for none.
        metric: name of the value given to `save`; the checkpoint with the smallest value is also kept. Values saved
            under another name are ignored. None keeps no best one.
        processes: that save and restore together; by default this one alone.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        keep: int,
        *,
        keep_every: int = 0,
        metric: str | None = None,
        processes: Processes | None = None,
    ) -> None:
        quieten_orbax()
        self._directory, self._processes = epath.Path(directory), processes or Processes()
        self._metric = metric or ""
        self._policies: list[checkpoint_managers.PreservationPolicy] = [checkpoint_managers.LatestN(keep)]
        if keep_every:
            self._policies.append(checkpoint_managers.EveryNSteps(keep_every))
        if metric:
            self._policies.append(_KeepBest(self._best_of))
        self._values: dict[int, float] = {}
        for step, value in self._processes.broadcast_from_primary(
            "read the records of the checkpoints", self._saved_values
        ):
            self._values[step] = value
        self._in_flight: CheckpointRecord | None = None
        self._not_written: dict[int, Exception] = {}
        self._manager = self._open_manager()

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, sound or not, in ascending order."""
        return _steps_in(self._directory)

    def best_step(self) -> int | None:
        """Step of the checkpoint with the smallest metric, the newest of equal ones; None if none has a metric."""
        return self._best_of(self.steps())

    def save(self, step: int, state: Any, iterator: grain.DatasetIterator, metric: float | None = None) -> None:
        """Saves state and data position; returns when both are copied, and writes in the background.

        A step that is already on disk is not saved again: after a rollback, call `delete_after` first.

        Args:
            step: number of the checkpoint.
            state: pytree of arrays.
            iterator: whose position is saved.
            metric: value of the metric; None if not measured. One that is not finite is never the best.

        Raises:
            CheckpointNotWrittenError: if this checkpoint or the one before it could not be written. In the second case
                writing this one has started nevertheless. Older checkpoints are intact and the run may continue.
        """
        if metric is not None and not self._metric:
            raise ValueError(f"metric is {metric}, expected None where the checkpointer was given no name of a metric")
        self._finish()
        if step not in self.steps():
            value = {self._metric: float(metric)} if metric is not None and math.isfinite(metric) else {}
            self._begin(CheckpointRecord(step, describe_arrays(state), value), state, iterator.get_state())
        self._report()

    def restore(self, state: _T, iterator: grain.DatasetIterator, at_most: int | None = None) -> tuple[_T, int] | None:
        """Restores the newest sound checkpoint.

        Each newer, damaged one is reported in one sentence and moved to a folder next to that of the checkpoints.

        Args:
            state: structure, shapes and shardings to restore, on any number of devices; its values are not used.
            iterator: set to the saved position.
            at_most: newest step to consider, for a rollback; None considers all.

        Returns:
            The state and its step, or None when there is no checkpoint.

        Raises:
            UserError: if all are damaged, or one is of another network; nothing is moved then.
        """
        self._finish()
        saved = self._processes.broadcast_from_primary("list the checkpoints", self.steps)
        steps = [step for step in saved if at_most is None or step <= at_most]
        if not steps:
            return None
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)

        def read(path: epath.Path) -> _T:
            return read_checkpoint(path, target, iterator, self._processes)

        restored, step, damaged = newest_sound(self._directory, steps, read)

        def move_aside() -> None:
            for bad, reason in damaged.items():
                moved = self._move_aside(bad)
                print(
                    f"checkpoint {bad} is damaged ({reason}), so it was moved to {moved} and checkpoint {step} is used",
                    flush=True,
                )

        if damaged:
            self._processes.broadcast_from_primary("move damaged checkpoints", move_aside)
            self._reopen_manager()
        return restored, step

    def delete_after(self, step: int) -> None:
        """Deletes the checkpoints newer than a step, so that a run can save those steps again after a rollback.

        Raises:
            UserError: if one cannot be deleted.
        """
        self._finish()

        def delete() -> None:
            # Newest first: if this is interrupted, the remaining checkpoints are still those of one run.
            for newer in reversed([other for other in self.steps() if other > step]):
                path = self._directory / str(newer)
                try:
                    _delete_checkpoint(path)
                except OSError as error:
                    raise UserError(f"checkpoint {path} cannot be deleted ({reason_of(error)})") from error

        self._processes.broadcast_from_primary("delete checkpoints", delete)
        self._values = {kept: value for kept, value in self._values.items() if kept <= step}
        self._reopen_manager()

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            CheckpointNotWrittenError: if a checkpoint could not be written.
        """
        self._finish()
        self._report()

    def close(self) -> None:
        """Waits until everything is on disk and closes the manager.

        Raises:
            CheckpointNotWrittenError: if a checkpoint could not be written and neither `save` nor `wait` said so.
        """
        self._finish()
        self._manager.close()
        self._report()

    def _begin(self, record: CheckpointRecord, state: Any, position: dict[str, Any]) -> None:
        """Copies the state and starts to write it."""
        items = {STATE: ocp.args.StandardSave(state), DATA: ocp.args.JsonSave(position)}
        if self._metric in record.metric:
            self._values[record.step] = record.metric[self._metric]
        self._in_flight = record
        try:
            if self._processes.is_primary:
                self._check_space(state)
            self._manager.save(record.step, args=ocp.args.Composite(**items), force=True)
        except Exception as error:  # orbax and tensorstore raise many kinds
            self._in_flight = None
            self._give_up(record.step, error)

    def _complete(self) -> None:
        """Adds the record to a checkpoint with complete files, in the background, before orbax commits it."""
        if self._in_flight:
            path = self._directory / str(self._in_flight.step)
            partial = path.with_name(path.name + _PARTIAL)
            # Buckets cannot rename: a last file commits the checkpoint.
            self._in_flight.write(partial if partial.exists() else path)

    def _finish(self) -> None:
        """Waits for the checkpoint that is being written; stores errors for `_report`."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # threads of orbax and tensorstore raise many kinds
            if self._in_flight:
                self._give_up(self._in_flight.step, error)
        self._in_flight = None

    def _give_up(self, step: int, error: Exception) -> None:
        """Notes that a step was not written, and removes its remains.

        Raises:
            CheckpointNotWrittenError: among several processes, as the others wait for this one to write its part.
        """
        if self._processes.count > 1:
            raise CheckpointNotWrittenError(
                f"checkpoint {step} could not be written to {self._directory} ({reason_of(error)})"
            ) from error
        if step not in self.steps():  # it exists if only the deletion of older ones failed
            self._not_written[step] = error
            self._values.pop(step, None)
        # Threads of tensorstore that still write would create the folder again.
        time.sleep(_LATE_WRITES)
        self._reopen_manager()

    def _report(self) -> None:
        """Raises the stored errors, once."""
        failed, self._not_written = self._not_written, {}
        if failed:
            names = f"checkpoint{'s' if len(failed) > 1 else ''} {' and '.join(map(str, failed))}"
            steps = ", ".join(map(str, self.steps()))
            left = f"the older ones are intact: {steps}" if steps else "there is no older one"
            last = list(failed.values())[-1]
            raise CheckpointNotWrittenError(
                f"{names} could not be written to {self._directory} ({reason_of(last)}); {left}"
            ) from last

    def _check_space(self, state: Any) -> None:
        """Refuses to fill the disk, which would stop the log files of the run as well."""
        if is_remote(self._directory):
            return
        folder = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        needed, free = sum(leaf.nbytes for leaf in jax.tree.leaves(state)), shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(f"it needs {needed / 2**20:,.1f} MiB and {free / 2**20:,.1f} MiB are free")

    def _open_manager(self) -> checkpoint_managers.CheckpointManager:
        """A manager that knows what is on disk now; orbax lists the folder only once."""
        self._processes.broadcast_from_primary("remove unfinished checkpoints", self._remove_unfinished)
        options = checkpoint_managers.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(self._policies),
            create=False,
            # Otherwise a damaged metadata file would raise here.
            lightweight_initialize=True,
            # Created in the background, a folder that cannot be created would be waited for until a time-out.
            async_options=ocp.AsyncOptions(
                create_directories_asynchronously=False, post_finalization_callback=self._complete
            ),
        )
        # The same file as grain writes for the position, but in the background.
        registry = ocp.DefaultCheckpointHandlerRegistry()
        registry.add(DATA, ocp.args.JsonSave, ocp.JsonCheckpointHandler(POSITION_FILE))
        return checkpoint_managers.CheckpointManager(
            absolute(self._directory), options=options, handler_registry=registry
        )

    def _remove_unfinished(self) -> None:
        if not self._directory.is_dir():
            return
        for path in self._directory.iterdir():
            if _PARTIAL in path.name or (path.name.isdigit() and not _is_finished(path)):
                with contextlib.suppress(OSError):
                    path.rmtree(missing_ok=True)

    def _saved_values(self) -> list[tuple[int, float]]:
        """Steps and values of the metric on disk."""
        values = []
        for step in self.steps() if self._metric else ():
            with contextlib.suppress(DamagedError):
                record = read_record(self._directory / str(step))
                if self._metric in record.metric:
                    values.append((step, record.metric[self._metric]))
        return values

    def _reopen_manager(self) -> None:
        with contextlib.suppress(Exception):  # its error has been stored
            self._manager.close()
        self._manager = self._open_manager()

    def _move_aside(self, step: int) -> epath.Path:
        """Moves a checkpoint out of the folder, to an unused name."""
        source, folder = self._directory / str(step), self._directory.parent / DAMAGED
        names = (f"{step}-{number}" if number else str(step) for number in range(2**31))
        target = next(folder / name for name in names if not (folder / name).exists())
        try:
            move_folder(source, target)
        except OSError as error:
            raise UserError(f"damaged checkpoint {source} cannot be moved to {target} ({reason_of(error)})") from error
        return target

    def _best_of(self, steps: Iterable[int]) -> int | None:
        measured = [step for step in steps if step in self._values]
        return min(measured, key=lambda step: (self._values[step], -step), default=None)


class _KeepBest(checkpoint_managers.PreservationPolicy):
    """Keeps the best step; unlike `BestN` of orbax it needs no metrics that orbax has read from disk."""

    def __init__(self, best_of: Callable[[Iterable[int]], int | None]) -> None:
        self._best_of = best_of

    def should_preserve(
        self, checkpoints: Sequence[checkpoint_managers.PolicyCheckpointInfo], *, context: Any
    ) -> Sequence[bool]:
        del context
        best = self._best_of(info.step for info in checkpoints)
        return [info.step == best for info in checkpoints]


def latest_step(directory: epath.PathLike) -> int | None:
    """The step of the newest complete checkpoint in a directory, sound or not, or None."""
    return max(_steps_in(epath.Path(directory)), default=None)


def _delete_checkpoint(path: epath.Path) -> None:
    """Deletes a checkpoint so that the remains of an interrupted deletion do not look like one."""
    if is_remote(path):
        (path / _COMMITTED).unlink(missing_ok=True)
        path.rmtree()
        return
    path.rename(path.with_name(path.name + _PARTIAL)).rmtree()


def restore_newest_entries(directory: epath.PathLike, entries: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Restores some entries of the newest sound state, and reports each damaged one in a sentence.

    Nothing is moved or written, so a run in progress is not disturbed.

    Args:
        directory: of the checkpoints.
        entries: as for `restore_entries`.

    Returns:
        The entries, and the step of their checkpoint.

    Raises:
        UserError: if there is no checkpoint, all are damaged, or the newest sound one is of another network.
    """
    directory = epath.Path(directory)
    steps = _steps_in(directory)
    if not steps:
        raise UserError(f"{directory} has no checkpoint yet; let the run continue until its first one")
    restored, step, damaged = newest_sound(
        directory, steps, lambda path: read_checkpoint(path, _on_default_device(entries))
    )
    for bad, reason in damaged.items():
        print(f"checkpoint {directory / str(bad)} is damaged ({reason}), so checkpoint {step} is used", flush=True)
    return restored, step


def restore_entries(directory: epath.PathLike, step: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Restores some entries of a saved state, without the rest.

    Args:
        directory: of the checkpoints.
        step: of the checkpoint.
        entries: pytrees of `jax.ShapeDtypeStruct` with the expected shapes, by name, such as `ema_params`.

    Returns:
        The entries, on the default device.

    Raises:
        DamagedCheckpointError: if the checkpoint cannot be read or differs from what was saved.
        UserError: if it is of another network.
    """
    path = epath.Path(directory) / str(step)
    try:
        return read_checkpoint(path, _on_default_device(entries))
    except DamagedError as error:
        raise DamagedCheckpointError(f"checkpoint {path} is damaged ({error})") from error


def save_entries(directory: epath.PathLike, step: int, entries: Mapping[str, Any]) -> None:
    """Saves entries for `restore_entries`, such as those of an imported network.

    Args:
        directory: of the checkpoints.
        step: number of the checkpoint.
        entries: pytrees of arrays by name.
    """
    path = absolute(directory) / str(step)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path / STATE, args=ocp.args.PyTreeSave(dict(entries)))
    CheckpointRecord(step, describe_arrays(dict(entries))).write(path)


def _steps_in(directory: epath.Path) -> list[int]:
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit() and _is_finished(path))


def _is_finished(path: epath.Path) -> bool:
    """Whether the checkpoint in a folder is complete: in a bucket a last file says so."""
    return not is_remote(path) or (path / _COMMITTED).exists()


def _on_default_device(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes of entries, sharded on the default device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), dict(entries))
