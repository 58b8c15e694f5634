"""Writers of numbers and pictures behind clu's interface, without TensorFlow: TensorBoard and `metrics.jsonl`."""

import json
import math
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorboardX
from etils import epath

# One module of clu imports TensorFlow when it is loaded, and only to write what tensorboardX writes here.
if "clu.metric_writers.summary_writer" not in sys.modules and "tensorflow" not in sys.modules:
    _stand_in = types.ModuleType("clu.metric_writers.summary_writer")
    _stand_in.SummaryWriter = object  # pyright: ignore[reportAttributeAccessIssue] - a module takes any attribute
    sys.modules[_stand_in.__name__] = _stand_in

from clu import metric_writers

from inr_gan_jax.storage import GrowingFile, is_remote

MetricWriter = metric_writers.MetricWriter

METRICS_FILE = "metrics.jsonl"


def _refuse(kind: str) -> Callable[..., None]:
    def refuse(self: object, *arguments: Any, **keywords: Any) -> None:
        del arguments, keywords
        raise TypeError(f"{type(self).__name__} was given {kind}, expected scalars or images")

    return refuse


class _ScalarAndImageWriter(MetricWriter):
    """Takes scalars and images; the other kinds of clu's interface are not used by this project."""

    write_summaries = _refuse("summaries")
    write_videos = _refuse("videos")
    write_audios = _refuse("audios")
    write_texts = _refuse("texts")
    write_histograms = _refuse("histograms")
    write_pointcloud = _refuse("point clouds")
    write_hparams = _refuse("hyper-parameters, which config.json holds")

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Leaves images out."""
        del step, images


class TensorBoardWriter(_ScalarAndImageWriter):
    """Writes TensorBoard event files.

    Args:
        directory: of the event files, on a disk.
        first_step: events of later steps that an interrupted run left behind are hidden.
    """

    def __init__(self, directory: epath.Path, first_step: int) -> None:
        self._writer = tensorboardX.SummaryWriter(str(directory), purge_step=first_step + 1, flush_secs=30)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the finite ones of the scalars."""
        for name, value in scalars.items():
            if math.isfinite(float(value)):
                self._writer.add_scalar(name, float(value), step)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes pictures [height, width, channels], uint8."""
        for name, image in images.items():
            self._writer.add_image(name, np.asarray(image), step, dataformats="HWC")

    def flush(self) -> None:
        """Puts everything on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the files."""
        self._writer.close()


class JsonLinesWriter(_ScalarAndImageWriter):
    """Appends one JSON object a call to `metrics.jsonl`.

    Lines of later steps, which an interrupted run left behind, are removed first, so that the file reads as if the run
    had never been interrupted.

    Args:
        directory: the run folder.
        first_step: the step that training goes on from.
    """

    def __init__(self, directory: epath.Path, first_step: int) -> None:
        kept = [json.dumps(line) for line in read_metrics(directory) if line["step"] <= first_step]
        self._file = GrowingFile(directory / METRICS_FILE, kept)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the finite ones of the scalars."""
        numbers = {name: float(value) for name, value in scalars.items() if math.isfinite(float(value))}
        self._file.append(json.dumps({"step": step, **numbers}))

    def flush(self) -> None:
        """Puts everything on disk."""
        self._file.flush()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def read_metrics(directory: epath.PathLike) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl` of a run folder; a last line that was cut off in writing is left out."""
    path = epath.Path(directory) / METRICS_FILE
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def make_writer(directory: epath.Path, first_step: int, is_primary: bool = True) -> MetricWriter:
    """The writers of a run: TensorBoard and JSON lines; none in a process that is not the first."""
    if not is_primary:
        return metric_writers.MultiWriter([])
    writers: list[MetricWriter] = [JsonLinesWriter(directory, first_step)]
    if is_remote(directory):
        print(f"no TensorBoard files are written into a bucket; {METRICS_FILE} holds the same numbers", flush=True)
    else:
        writers.insert(0, TensorBoardWriter(directory / "tensorboard", first_step))
    return metric_writers.MultiWriter(writers)
