"""Pictures of a sweep: the metric against images shown and against time, and the samples of each row side by side."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.sweep_report import Record, by_label
from benchmarks.sweep_runs import Run
from inr_gan_jax.training.run_folder import SAMPLES

_COLUMNS_OF_SHEET = 4
# More lines than that cannot be told apart.
_MOST_CURVES = 8


def write_plot(records: Sequence[Record], path: Path, with_time: bool = True) -> None:
    """Plots the metric of each row against thousands of images shown and, optionally, against minutes of training.

    Lines are means over seeds, bands reach from the lowest to the highest seed. Of many finished rows only the ends are
    drawn.

    Args:
        records: of runs; those that have no metric yet are left out.
        path: of the picture.
        with_time: draw the second half, too, if times are known.
    """
    ended = by_label(record for record in records if record["status"] == "finished")
    if len(ended) > _MOST_CURVES:
        _write_ends(ended, path)
    else:
        drawn = [record for record in records if record.get("curve")]
        has_times = any("seconds" in point for record in drawn for point in record["curve"])
        _write_curves(by_label(drawn), path, with_time and has_times)


def is_picture(path: Path) -> bool:
    """Whether the ending of a file names a format of pictures that can be written."""
    return path.suffix.removeprefix(".") in FigureCanvasAgg(Figure()).get_supported_filetypes()


def _write_curves(groups: Mapping[str, Sequence[Record]], path: Path, with_time: bool) -> None:
    """Plots the rows as lines."""
    figure = Figure(figsize=(11 if with_time else 6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    by_images, *halves_of_time = figure.subplots(1, 1 + with_time, sharey=True, squeeze=False)[0]
    for index, (label, group) in enumerate(groups.items()):
        colour = colormaps["tab10"](index % 10)
        _draw(by_images, group, "kimg", label, colour)
        for by_time in halves_of_time:
            if all("seconds" in point for each in group for point in each["curve"]):
                _draw(by_time, group, "seconds", label, colour)
    first = next(iter(groups.values()), [{}])[0]
    for axes in (by_images, *halves_of_time):
        for label, floor, style in _floors(first):
            axes.axhline(floor, linestyle=style, color="0.4", label=label)
    by_images.set(xlabel="real images shown (thousands)", ylabel=first.get("metric", ""), yscale="log", xlim=(0, None))
    for by_time in halves_of_time:
        by_time.set(xlabel="training (minutes, without compilation and evaluation)", xlim=(0, None))
    for axes in (by_images, *halves_of_time):
        axes.grid(which="both", alpha=0.25)
    # Outside of the axes, where no line runs through it.
    handles, labels = by_images.get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, fontsize="small", loc="outside upper center", ncols=3 if with_time else 2
    )
    figure.savefig(path, dpi=110)


def _floors(record: Record) -> list[tuple[str, float, str]]:
    """Label, value and line style of what real images have."""
    floors = record.get("floors", {})
    styles = (("halves", "--"), ("resampled", ":"))
    return [
        (f"real images, {name} ({_shown(floors[name])})", floors[name], style)
        for name, style in styles
        if name in floors
    ]


def _write_ends(groups: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Plots the last metric of each row, the best at the top, a dot a seed."""
    ends = {label: [record["final"] for record in group] for label, group in groups.items()}
    labels = sorted(ends, key=lambda label: -statistics.fmean(ends[label]))
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for height, label in enumerate(labels):
        axes.plot(ends[label], [height] * len(ends[label]), "o", color="tab:blue", markersize=5)
        axes.annotate(
            _shown(statistics.fmean(ends[label])),
            (max(ends[label]), height),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            # Lines of the floors do not run through numbers.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    first = groups[labels[0]][0]
    for label, floor, style in _floors(first):
        axes.axvline(floor, linestyle=style, color="0.4", label=label)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=f"{first['metric']} after {first['kimg']:g} kimg", xscale="log")
    axes.margins(x=0.1)
    axes.grid(axis="x", which="both", alpha=0.25)
    figure.legend(frameon=False, fontsize="small", loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=110)


def _shown(value: float) -> str:
    """Three digits, trailing noughts too, and all digits of large numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def _draw(axes: Axes, group: Sequence[Record], key: str, label: str, colour: Any) -> None:
    """One row: on the points of its first seed, as far as all of its seeds have come."""
    scale = 1 / 60 if key == "seconds" else 1.0
    curves = [
        np.array([(point[key] * scale, point["value"]) for point in each["curve"]], np.float64).T for each in group
    ]
    first, last = max(curve[0, 0] for curve in curves), min(curve[0, -1] for curve in curves)
    x = np.unique(np.concatenate([np.clip(curves[0][0], first, last), [first, last]]))
    values = np.stack([np.interp(x, *curve) for curve in curves])
    axes.plot(x, values.mean(0), marker="o", markersize=3, color=colour, label=label)
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def write_sheet(runs: Sequence[Run], path: Path) -> bool:
    """Arranges the newest sample grids of several runs, up to their last image, side by side, not selected.

    Args:
        runs: those without samples are left out.
        path: of the picture.

    Returns:
        Whether there were any samples; if not, nothing is written.
    """
    found = [(run.row.label, _newest_samples(run)) for run in runs]
    pictures = [(title, file) for title, file in found if file]
    if not pictures:
        return False
    columns = min(_COLUMNS_OF_SHEET, len(pictures))
    rows = -(-len(pictures) // columns)
    with Image.open(pictures[0][1]) as picture:
        ratio = picture.height / picture.width
    figure = Figure(figsize=(3.2 * columns, (3.2 * ratio + 0.25) * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, (title, file) in zip(grid, pictures, strict=False):
        with Image.open(file) as picture:
            axes.imshow(np.asarray(picture.convert("RGB")), interpolation="lanczos")
        axes.set_title(f"{title}, {int(file.stem) / 1000:.3g} kimg", fontsize="small")
    figure.savefig(path, dpi=110)
    return True


def _newest_samples(run: Run) -> Path | None:
    """The grid of a run that shows its end, though it may have gone on for another comparison."""
    # Named by the images shown, a last batch of which may reach beyond the end.
    files = sorted((run.folder / SAMPLES).glob("*.png"))
    return max((file for file in files if int(file.stem) / 1000 <= run.kimg + 0.5), default=None)
