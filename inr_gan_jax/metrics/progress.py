"""How far long work has come: a bar in a terminal, plain lines elsewhere, both with the time left."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 20.0


class Progress:
    """Counts images, or something else.

    Args:
        label: of the work.
        total: how many there are.
        unit: what is counted, in the plural.
    """

    def __init__(self, label: str, total: int, unit: str = "images") -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, 0
        self._started = self._last_line = time.perf_counter()
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(desc=label, total=total, unit=f" {unit}", unit_scale=True, disable=not self._is_terminal)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Tells that `count` more are done."""
        self._done += count
        self._bar.update(count)
        now = time.perf_counter()
        if self._is_terminal or now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        speed = self._done / (now - self._started)
        left = tqdm.format_interval((self._total - self._done) / speed)
        print(f"{self._label}: {self._done} of {self._total}, {speed:.1f} {self._unit}/s, {left} left", flush=True)
