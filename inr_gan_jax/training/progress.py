"""What a run shows: means of its scalars, a progress bar or lines, the plot of its metric, a summary at the end."""

import contextlib
import io
import json
import resource
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from inr_gan_jax.config.schema import Config
from inr_gan_jax.metrics.pixel_fd import MAX_PIXELS
from inr_gan_jax.metrics.protocols import PIXEL_FD
from inr_gan_jax.storage import is_remote, write_whole
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.phase_losses import Phase, Scalars
from inr_gan_jax.training.run_folder import CHECKPOINTS, SAMPLES

UNFINISHED_TICKS_FILE = "unfinished_ticks.json"
# Entries of older checkpoints, which have been deleted, are dropped.
_MAX_UNFINISHED_TICKS = 32
_SECONDS_BETWEEN_LINES = 20.0
# Shown after kimg, speed and time left, in this order, under these names.
_SHOWN = {
    "loss/generator": "G", "loss/discriminator": "D", "loss/r1": "R1", "loss/r2": "R2",
    "loss/path_length": "PL", "loss/perceptual": "perceptual", "logits/sign_real": "r_t", "augment/p": "p",
    "gradient_norm/generator": "|dG|", "gradient_norm/discriminator": "|dD|",
}  # fmt: skip


class ScalarLog:
    """Collects scalars on the device and fetches their means once per tick, so that the loop never waits for a step.

    Args:
        intervals: of each phase, in steps; the scalars of a phase that is not due are ignored.
        kept: scalars of the unfinished tick of a resumed run.
    """

    def __init__(self, intervals: Mapping[Phase, int], kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        self._intervals = intervals
        self._kept: dict[str, list[Any]] = {name: list(values) for name, values in (kept or {}).items()}

    def kept(self) -> dict[str, list[Any]]:
        """The scalars since the last call of `means`, fetched: one per step that computed them."""
        return jax.device_get(self._kept)

    def add(self, step: int, scalars: Mapping[Phase, Scalars]) -> None:
        """Adds the scalars of one step, counted from 0, without waiting for them."""
        for phase, interval in self._intervals.items():
            for name, value in scalars[phase].items() if step % interval == 0 else ():
                self._kept.setdefault(name, []).append(value)

    def not_finite(self) -> str | None:
        """Name of a scalar since the last call of `means` that is not finite; None if all are finite."""
        fetched = self.kept()
        return next((name for name, values in fetched.items() if not np.all(np.isfinite(values))), None)

    def means(self) -> dict[str, float]:
        """Means since the last call of this method."""
        fetched = self.kept()
        self._kept = {}
        return {name: float(np.mean(values)) for name, values in fetched.items()}


class UnfinishedTicks:
    """`unfinished_ticks.json` of a run folder: scalars of ticks that a checkpoint was saved in, for a resumed run.

    Args:
        workdir: run folder.
    """

    def __init__(self, workdir: epath.PathLike) -> None:
        self._path = epath.Path(workdir) / UNFINISHED_TICKS_FILE

    def write(self, step: int, kept: Mapping[str, Sequence[Any]]) -> None:
        """Writes the scalars of the steps since the last tick, and drops those of later checkpoints.

        A file that cannot be written costs the means of one tick, not the checkpoint.

        Args:
            step: of the checkpoint.
            kept: scalars by name, one per step that computed them; empty between two ticks.
        """
        with contextlib.suppress(OSError):
            known = self._all()
            if not known and not kept:
                return
            earlier = {other: value for other, value in known.items() if int(other) < step}
            now = {name: [_type_and_value(value) for value in values] for name, values in kept.items()}
            ticks = earlier | ({str(step): now} if now else {})
            newest = dict(sorted(ticks.items(), key=lambda pair: int(pair[0]))[-_MAX_UNFINISHED_TICKS:])
            write_whole(self._path, json.dumps(newest))

    def read(self, step: int) -> dict[str, list[np.ndarray]]:
        """The scalars written with the checkpoint of a step, bit for bit; empty if there are none."""
        noted = self._all().get(str(step), {})
        return {name: [np.asarray(value, dtype) for dtype, value in values] for name, values in noted.items()}

    def _all(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text()) if self._path.exists() else {}
        except (OSError, ValueError):
            return {}


def _type_and_value(value: Any) -> tuple[str, float]:
    """Type and value; a 64-bit float holds every 32-bit float exactly."""
    array = np.asarray(value)
    return array.dtype.name, array.item()


class Progress:
    """A bar in a terminal, plain lines elsewhere: kimg, images/s, s/kimg, time left, losses, memory.

    Args:
        config: of the run.
        first_step: the step that the run starts or resumes from.
        is_primary: whether this process prints; the others are silent.
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
        """Measures speed from this step on."""
        self._first, self._started = step, time.perf_counter()
        self._bar.n = step * self._batch

    def speed(self, step: int) -> float:
        """Images per second since the start, evaluation and checkpoints included."""
        return (step - self._first) * self._batch / max(time.perf_counter() - self._started, 1e-9)

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """Shows the progress of the run; numbers of earlier calls stay until replaced."""
        self._notes.update({name: f"{value:.3f}" for name, value in numbers.items()})
        self._evaluated_at.update({name: step for name in numbers if name.startswith("metric/")})
        shown = {**_SHOWN, **{name: name.removeprefix("metric/") for name in self._evaluated_at}}
        notes = ", ".join(
            f"{word} {self._notes[name]}{self._age(name, step)}" for name, word in shown.items() if name in self._notes
        )
        if self._is_terminal:
            self._bar.set_postfix_str(f"{notes}, {memory()}", refresh=False)
            self._bar.update(step * self._batch - self._bar.n)
        elif self._is_primary:
            self._print_line(step, notes)

    def _print_line(self, step: int, notes: str) -> None:
        """Prints a line, unless the last one is recent."""
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
        """When a metric was computed, if not at this step."""
        evaluated = self._evaluated_at.get(name, step)
        return f" (at {evaluated * self._batch / 1000:.1f})" if evaluated != step else ""

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if not self._is_primary:
            return
        tqdm.write(text) if self._is_terminal else print(text, flush=True)

    def close(self) -> None:
        """Closes the bar."""
        self._bar.close()


def memory() -> str:
    """Peak memory so far: of the first device where it reports one, else of the process."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return f"{statistics['peak_bytes_in_use'] / 2**30:.1f} GiB on device"
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def write_training_plot(workdir: epath.Path, metric: str, floors: Mapping[str, float]) -> epath.Path | None:
    """Plots a metric of `metrics.jsonl` against images shown, into `training.png`.

    Args:
        workdir: run folder.
        metric: name in the file.
        floors: see `Evaluation.floors`; shown as horizontal lines.

    Returns:
        Path of the plot, or None if the metric was never computed.
    """
    points: list[dict[str, Any]] = [line for line in read_metrics(workdir) if metric in line]
    if not points:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kimg, values = [point["kimg"] for point in points], [point[metric] for point in points]
    axes.plot(kimg, values, marker="o", markersize=4, label="generated against real")
    if min(values) > 0:
        axes.set_yscale("log")
    for name, linestyle in (("halves", "--"), ("resampled", ":")) if floors else ():
        floor = floors[name]
        words = "two halves of the real set" if name == "halves" else "real images resampled"
        axes.axhline(floor, linestyle=linestyle, color="0.4", label=f"{words} ({floor:.3f})")
    axes.annotate(f"{values[-1]:.3f}", (kimg[-1], values[-1]), textcoords="offset points", xytext=(-4, 8), ha="right")
    axes.set(
        xlabel="real images shown (thousands)",
        ylabel="pixel Fréchet distance" if metric.endswith("pixel_fd") else metric.removeprefix("metric/"),
        xlim=(0, None),
    )
    axes.grid(which="both", alpha=0.25)
    axes.legend(frameon=False)
    path = workdir / "training.png"
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=120)
    path.write_bytes(encoded.getvalue())
    return path


def final_summary(workdir: epath.Path, config: Config, kimg: float) -> str:
    """Lists the files of a finished run and the next commands.

    Args:
        workdir: run folder, as the user typed it.
        config: of the run.
        kimg: thousands of real images shown.
    """
    lines = [
        f"finished at {kimg:.1f} kimg, in {workdir}:",
        f"  {SAMPLES + '/':<14} sample grids",
        f"  {'metrics.jsonl':<14} numbers; also in tensorboard/",
        f"  {CHECKPOINTS + '/':<14} networks; a larger --config.training.total_kimg resumes from the newest",
    ]
    folder = shlex.quote(str(workdir))
    if is_remote(workdir):
        folder = "COPY"
        lines.append(f"next, with {workdir} copied to a folder COPY:")
    else:
        lines.append("next:")
    lines.append(f"  python -m inr_gan_jax.tools.gallery --workdir={folder}")
    data = config.data
    if config.evaluation.metric == "none" and data.height * data.width * data.channels <= MAX_PIXELS:
        lines.append(f"  python -m inr_gan_jax.evaluate --workdir={folder} --metrics={PIXEL_FD}")
    return "\n".join(lines)
