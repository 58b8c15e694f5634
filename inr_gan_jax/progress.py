"""Progress of long work: a bar in a terminal, plain lines elsewhere, both with the time left."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 20.0


class Progress:
    """Counts images, or other units of work; a context manager.

    Args:
        label: of the work.
        total: units in all.
        done: units that were done before.
        unit: what is counted.
    """

    def __init__(self, label: str, total: int, done: int = 0, unit: str = "images") -> None:
        self._label, self._total, self._first, self._done, self._unit = label, total, done, done, unit
        self._started = self._last_line = time.perf_counter()
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            desc=label, total=total, initial=done, unit=f" {unit}", unit_scale=True, disable=not self._is_terminal
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, count: int = 1) -> None:
        """Counts further units."""
        self._done += count
        self._bar.update(count)
        now = time.perf_counter()
        if self._is_terminal or now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        speed = (self._done - self._first) / (now - self._started)
        left = tqdm.format_interval((self._total - self._done) / max(speed, 1e-9))
        print(f"{self._label}: {self._done:,} of {self._total:,}, {speed:.1f} {self._unit}/s, {left} left", flush=True)
