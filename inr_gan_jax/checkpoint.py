"""Checkpoints of a run folder: any pytree of arrays, and the position in the data beside it."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp

from inr_gan_jax.errors import UserError

_STATE, _DATA = "state", "data"

_T = TypeVar("_T")


class Checkpointer:
    """Writes checkpoints in the background and finds the newest one again.

    Args:
        directory: of the checkpoints; made on the first save.
        keep: newest checkpoints to keep.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, step: int, state: Any, iterator: grain.DatasetIterator) -> None:
        """Saves state and data position; returns once both are copied, and writes on in the background."""
        arguments = {
            _STATE: ocp.args.StandardSave(state),
            _DATA: grain.checkpoint.CheckpointSave(iterator),
        }
        self._manager.save(step, args=ocp.args.Composite(**arguments))

    def restore(self, state: _T, iterator: grain.DatasetIterator) -> tuple[_T, int] | None:
        """Restores the newest checkpoint.

        Args:
            state: gives structure, shapes and placement; its values are not used.
            iterator: set to the saved position.

        Returns:
            The state and its step, or None when there is no checkpoint.

        Raises:
            UserError: if the newest checkpoint cannot be read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        arguments = {
            _STATE: ocp.args.StandardRestore(abstract),
            _DATA: grain.checkpoint.CheckpointRestore(iterator),
        }
        with _readable(self._manager.directory / str(step)):
            restored = self._manager.restore(step, args=ocp.args.Composite(**arguments))
        return restored[_STATE], step

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


@contextlib.contextmanager
def _readable(path: Any) -> Iterator[None]:
    """Turns whatever a damaged checkpoint makes the libraries raise into one sentence."""
    try:
        yield
    except Exception as error:  # orbax, tensorstore and grain raise many kinds
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f"checkpoint {path} cannot be read ({reason}); move it away to go on from the one before it"
        ) from error


def latest_step(directory: Path) -> int | None:
    """The step of the newest complete checkpoint in a directory, or None."""
    if not directory.is_dir():
        return None
    steps = [int(path.name) for path in directory.iterdir() if path.name.isdigit()]
    return max(steps, default=None)


def restore_entries(directory: Path, step: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Restores some entries of a saved state, without the rest.

    Args:
        directory: of the checkpoints.
        step: which one.
        entries: name of each, such as `ema_params`, to a pytree of `jax.ShapeDtypeStruct` with the shapes expected.

    Returns:
        The entries, on the default device.

    Raises:
        UserError: if the checkpoint cannot be read.
    """
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = dict(entries)
    restore_args = jax.tree.map(lambda leaf: ocp.ArrayRestoreArgs(sharding=sharding, dtype=leaf.dtype), target)
    arguments = ocp.args.PyTreeRestore(item=target, restore_args=restore_args, partial_restore=True)
    with _readable(directory / str(step)), ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(directory.absolute() / str(step) / _STATE, args=arguments)


def save_entries(directory: Path, step: int, entries: Mapping[str, Any]) -> None:
    """Saves entries that `restore_entries` reads, as an imported network needs them.

    Args:
        directory: of the checkpoints.
        step: number of the checkpoint.
        entries: name of each to a pytree of arrays.
    """
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(directory.absolute() / str(step) / _STATE, args=ocp.args.PyTreeSave(dict(entries)))
