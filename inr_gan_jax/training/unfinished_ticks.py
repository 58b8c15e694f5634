"""Numbers of ticks of the log that were under way when a checkpoint was saved, so that a resumed run finishes them."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from inr_gan_jax.storage import write_whole

UNFINISHED_TICKS_FILE = "unfinished_ticks.json"
# Of older checkpoints none is left.
_MOST_STEPS = 32

Kept = Mapping[str, Sequence[Any]]


class UnfinishedTicks:
    """`unfinished_ticks.json` of a run folder; it is there only if a checkpoint was saved in the middle of a tick.

    Args:
        workdir: run folder.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        self._path = epath.Path(workdir) / UNFINISHED_TICKS_FILE

    def write(self, step: int, kept: Kept) -> None:
        """Notes the numbers of the steps since the last tick, and forgets those of later steps.

        What cannot be written costs the means of one tick, not the checkpoint.

        Args:
            step: of the checkpoint.
            kept: scalars by name, one a step in which they were computed; empty between two ticks.
        """
        with contextlib.suppress(OSError):
            known = self._all()
            if not known and not kept:
                return
            earlier = {other: value for other, value in known.items() if int(other) < step}
            now = {name: [_noted(value) for value in values] for name, values in kept.items()}
            everything = earlier | ({str(step): now} if now else {})
            newest = dict(sorted(everything.items(), key=lambda pair: int(pair[0]))[-_MOST_STEPS:])
            write_whole(self._path, json.dumps(newest))

    def read(self, step: int) -> dict[str, list[np.ndarray]]:
        """The numbers that were noted with the checkpoint of a step, bit by bit; nothing if there are none."""
        noted = self._all().get(str(step), {})
        return {name: [np.asarray(value, dtype) for dtype, value in values] for name, values in noted.items()}

    def _all(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text()) if self._path.exists() else {}
        except (OSError, ValueError):
            return {}


def _noted(value: Any) -> tuple[str, float]:
    """Type and value; a float of 64 bits holds every number of 32 exactly."""
    array = np.asarray(value)
    return array.dtype.name, array.item()
