"""How far long work on images is: a bar in a terminal, plain lines elsewhere, both with the time left."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 20.0


class ImageProgress:
    """Counts images.

    Args:
        title: what is done to them.
        total: how many there are.
        done: how many were done before.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self._title, self._total, self._first, self._done = title, total, done, done
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=title, unit="img", disable=not self._is_terminal)
        self._started = self._last_line = time.perf_counter()

    def update(self, count: int = 1) -> None:
        """Counts further images, and tells where the work is from time to time."""
        self._done += count
        if self._is_terminal:
            self._bar.update(count)
            return
        now = time.perf_counter()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        speed = (self._done - self._first) / (now - self._started)
        left = tqdm.format_interval((self._total - self._done) / max(speed, 1e-9))
        print(f"{self._title}: {self._done:,} of {self._total:,} images, {speed:.0f} images/s, {left} left", flush=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()
