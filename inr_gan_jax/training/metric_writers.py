"""Writes the scalars and images of a run to TensorBoard event files and to `metrics.jsonl`, without TensorFlow."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorboardX
from etils import epath

from inr_gan_jax.storage import GrowingFile, is_remote

METRICS_FILE = "metrics.jsonl"


class MetricWriter:
    """The files of one run. What an interrupted run wrote after the step that it resumes from is removed or hidden.

    Args:
        workdir: run folder; a bucket gets no event files, which grow by appending.
        first_step: the step that training starts or resumes from.
        is_primary: whether this process writes; the others write nothing.
    """

    def __init__(self, workdir: epath.Path, first_step: int, is_primary: bool = True) -> None:
        self._lines: GrowingFile | None = None
        self._events: tensorboardX.SummaryWriter | None = None
        if not is_primary:
            return
        kept = [json.dumps(line) for line in read_metrics(workdir) if line["step"] <= first_step]
        self._lines = GrowingFile(workdir / METRICS_FILE, kept)
        if is_remote(workdir):
            print(f"no TensorBoard files are written into a bucket; {METRICS_FILE} holds the same numbers", flush=True)
        else:
            folder = str(workdir / "tensorboard")
            self._events = tensorboardX.SummaryWriter(folder, purge_step=first_step + 1, flush_secs=30)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the finite ones of the scalars, as one line of `metrics.jsonl`."""
        numbers = {name: float(value) for name, value in scalars.items() if math.isfinite(float(value))}
        if self._lines:
            self._lines.append(json.dumps({"step": step, **numbers}))
        if self._events:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, step)

    def write_image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image [height, width, channels], uint8, to TensorBoard."""
        if self._events:
            self._events.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Writes everything to disk."""
        if self._lines:
            self._lines.flush()
        if self._events:
            self._events.flush()

    def close(self) -> None:
        """Writes everything to disk and closes the files."""
        if self._lines:
            self._lines.close()
        if self._events:
            self._events.close()


def read_metrics(directory: epath.PathLike) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl` of a run folder; an incomplete last line is ignored."""
    path = epath.Path(directory) / METRICS_FILE
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
