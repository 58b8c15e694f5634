"""What a person sees of a run: numbers gathered once a tick, and lines or a bar with them."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from inr_gan_jax.config.parse import Config
from inr_gan_jax.training.phase_losses import Phase, Scalars

_SECONDS_BETWEEN_LINES = 20.0
# Shown beside kimg, speed and time left, in this order, by these names.
_SHOWN = {
    "loss/generator": "G", "loss/discriminator": "D", "loss/r1": "R1", "loss/r2": "R2",
    "loss/path_length": "PL", "loss/perceptual": "perceptual", "logits/sign_real": "r_t", "augment/p": "p",
    "gradient_norm/generator": "|dG|", "gradient_norm/discriminator": "|dD|",
}  # fmt: skip


class ScalarLog:
    """Gathers scalars on the device and fetches their means once a tick, so that the loop never waits for one step.

    Args:
        intervals: steps between two of each phase; the scalars of a phase that is not due are left out.
        kept: of an earlier start in the middle of a tick.
    """

    def __init__(self, intervals: Mapping[Phase, int], kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        self._intervals = intervals
        self._kept: dict[str, list[Any]] = {name: list(values) for name, values in (kept or {}).items()}

    def kept(self) -> dict[str, list[Any]]:
        """The scalars since the last call of `means`, fetched: one a step in which they were computed."""
        return jax.device_get(self._kept)

    def add(self, step: int, scalars: Mapping[Phase, Scalars]) -> None:
        """Keeps the scalars of one step, the first being 0, without waiting for them."""
        for phase, interval in self._intervals.items():
            for name, value in scalars[phase].items() if step % interval == 0 else ():
                self._kept.setdefault(name, []).append(value)

    def not_finite(self) -> str | None:
        """Name of a number since the last call of `means` that is not finite; None if there is none."""
        fetched = self.kept()
        return next((name for name, values in fetched.items() if not np.all(np.isfinite(values))), None)

    def means(self) -> dict[str, float]:
        """Means since the last call."""
        fetched = self.kept()
        self._kept = {}
        return {name: float(np.mean(values)) for name, values in fetched.items()}


class Progress:
    """A bar in a terminal, plain lines elsewhere: kimg, images/s, s/kimg, time left, losses, memory.

    Args:
        config: of the run.
        first_step: where the run goes on from.
        is_primary: whether this is the process that speaks for all of them.
    """

    def __init__(self, config: Config, first_step: int, is_primary: bool = True) -> None:
        self._is_primary = is_primary
        self._batch, self._total = config.training.batch_size, config.training.total_steps
        self._is_terminal = sys.stderr.isatty() and is_primary
        self._bar = tqdm(
            total=self._total * self._batch,
            initial=first_step * self._batch,
            unit="img",
            unit_scale=True,
            disable=not self._is_terminal,
        )
        self._notes: dict[str, str] = {}
        self._evaluated_at: dict[str, int] = {}
        self._last_line = time.perf_counter()
        self.start_at(first_step)

    def start_at(self, step: int) -> None:
        """Counts speed from here; after going back, too."""
        self._first, self._started = step, time.perf_counter()
        self._bar.n = step * self._batch

    def speed(self, step: int) -> float:
        """Images a second since the start, everything beside the steps included."""
        return (step - self._first) * self._batch / max(time.perf_counter() - self._started, 1e-9)

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """Shows where the run is; numbers of earlier calls stay until replaced."""
        self._notes.update({name: f"{value:.3f}" for name, value in numbers.items()})
        self._evaluated_at.update({name: step for name in numbers if name.startswith("metric/")})
        metrics = {name: name.removeprefix("metric/") for name in self._evaluated_at}
        shown = {**_SHOWN, **metrics}
        notes = ", ".join(
            f"{word} {self._notes[name]}{self._age(name, step)}" for name, word in shown.items() if name in self._notes
        )
        if self._is_terminal:
            self._bar.set_postfix_str(f"{notes}, {memory()}", refresh=False)
            self._bar.update(step * self._batch - self._bar.n)
            return
        if not self._is_primary:
            return
        now = time.perf_counter()
        if now - self._last_line < _SECONDS_BETWEEN_LINES and step < self._total:
            return
        self._last_line = now
        speed = max(self.speed(step), 1e-9)
        left = tqdm.format_interval((self._total - step) * self._batch / speed)
        kimg, total = step * self._batch / 1000, self._total * self._batch / 1000
        print(
            f"{kimg:.1f} of {total:.1f} kimg, {speed:.0f} images/s, {1000 / speed:.2f} s/kimg, {left} left, {notes}, "
            f"{memory()}",
            flush=True,
        )

    def _age(self, name: str, step: int) -> str:
        """Of what a metric was computed, if not of this step."""
        evaluated = self._evaluated_at.get(name, step)
        return f" (at {evaluated * self._batch / 1000:.1f})" if evaluated != step else ""

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if not self._is_primary:
            return
        tqdm.write(text) if self._is_terminal else print(text, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def memory() -> str:
    """The largest amount of memory used so far: of the first device where it tells, else of the program."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return f"{statistics['peak_bytes_in_use'] / 2**30:.1f} GiB on device"
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"
