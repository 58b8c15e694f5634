"""training.png: the metric of a run against images shown."""

import io
from collections.abc import Mapping
from typing import Any

from etils import epath
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from inr_gan_jax.training.metric_writers import read_metrics


def write_training_plot(workdir: epath.Path, metric: str, floors: Mapping[str, float]) -> epath.Path | None:
    """Plots a metric of `metrics.jsonl`.

    Args:
        workdir: run folder.
        metric: name in the file.
        floors: see `Evaluation.floors`; plotted as lines, where there are any.

    Returns:
        Path of the picture, or None when the metric was never computed.
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
