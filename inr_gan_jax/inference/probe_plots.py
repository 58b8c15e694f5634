"""Plots of a probe: bars with intervals, predicted against true positions, and landmarks marked on images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.keypoints import ALL, Keypoints, is_axis
from inr_gan_jax.inference.probe import Probe, Scores
from inr_gan_jax.inference.sheets import in_colour
from inr_gan_jax.ops.image_grid import image_grid, magnify

_COLUMNS = 4
_MAX_PANELS = 8
_TRUE_COLOUR, _PREDICTED_COLOUR = (40, 200, 80), (255, 70, 60)
_SHEET_SIDE, _SHEET_COLUMNS, _SHEET_IMAGES = 128, 8, 32
_AXIS_LENGTH = 0.25


def plot_bars(path: Path, probes: Mapping[str, Probe], title: str) -> None:
    """Plots R2 of each space, true and shuffled, with intervals: one panel per group, the mean over all first.

    Raises:
        UserError: if the file cannot be written.
    """
    first = next(iter(probes.values()))
    groups = [ALL, *(group for group in first.true.r2 if group != ALL)][:_MAX_PANELS]
    names = list(probes)
    rows, columns = -(-len(groups) // _COLUMNS), min(_COLUMNS, len(groups))
    figure = Figure(figsize=(1 + 2.6 * columns, 0.8 + 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel in panels[len(groups) :]:
        panel.remove()
    for index, (group, axes) in enumerate(zip(groups, panels, strict=False)):
        for shift, label, colour in ((-0.2, "true", "C0"), (0.2, "shuffled", "0.6")):
            scores = [_scores_of(probes[name], label).r2[group] for name in names]
            values = np.array([score.value for score in scores])
            reach = np.array([[score.value - score.low, score.high - score.value] for score in scores]).T
            places = np.arange(len(names)) + shift
            axes.bar(places, values, 0.4, label=label, color=colour, yerr=np.maximum(reach, 0), capsize=3)
        axes.set(title="mean of all" if group == ALL else group, ylabel="R²" if index % columns == 0 else "")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize="small")
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.grid(axis="y", alpha=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False, fontsize="small")
    _save(figure, path)


def plot_scatter(path: Path, probe: Probe, keypoints: Keypoints, title: str) -> None:
    """Plots predicted against true values, one panel per coordinate.

    Raises:
        UserError: if the file cannot be written.
    """
    groups = list(keypoints.groups)[: _MAX_PANELS - 1]
    columns = -(-len(groups) // 2)
    figure = Figure(figsize=(4.4 * columns, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = [(group, part) for group in groups for part in (0, 1)]
    for index, (group, part) in enumerate(panels):
        axes = figure.add_subplot(2, 2 * columns, index + 1)
        column = keypoints.groups[group][part]
        true, predicted = keypoints.values[:, column], probe.predicted[:, column]
        axes.scatter(true, predicted, s=3, alpha=0.25, linewidths=0)
        ends = [float(true.min()), float(true.max())]
        axes.plot(ends, ends, color="0.3", linewidth=0.8)
        words = ("cos 2a", "sin 2a") if is_axis(group) else ("x", "y")
        axes.set_title(f"{group} {words[part]}", fontsize="medium")
        axes.set(xlabel="true" if index >= len(groups) else "", ylabel="predicted" if index % len(groups) == 0 else "")
    _save(figure, path)


def landmark_sheet(images: np.ndarray, true: Keypoints, predicted: np.ndarray) -> np.ndarray:
    """Marks true landmarks (green circles) and predicted ones (red crosses) on the first images.

    Args:
        images: [count, height, width, channels], uint8.
        true: of these images.
        predicted: [count, num_columns].

    Returns:
        [sheet_height, sheet_width, 3], uint8. Axes are lines through the centroid, if there is one.
    """
    shown = images[:_SHEET_IMAGES]
    shown = in_colour(magnify(shown, max(1, _SHEET_SIDE // max(shown.shape[1:3]))))
    # Darkened, so that marks stand out.
    cells = []
    for image, row, found in zip((shown * 0.6).astype(np.uint8), true.values, predicted, strict=False):
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        for group in true.groups:
            _mark_group(pen, true.groups, group, row, _TRUE_COLOUR)
            _mark_group(pen, true.groups, group, found, _PREDICTED_COLOUR)
        cells.append(np.asarray(picture))
    return image_grid(cells, _SHEET_COLUMNS, gap=4)


def _mark_group(
    pen: ImageDraw.ImageDraw, groups: Mapping[str, tuple[int, int]], group: str, row: np.ndarray, colour: tuple
) -> None:
    size = np.array(pen.im.size)
    if is_axis(group):
        if "centroid" in groups:
            angle = np.arctan2(row[groups[group][1]], row[groups[group][0]]) / 2
            centre = row[list(groups["centroid"])] * size
            reach = _AXIS_LENGTH * size.min() * np.array([np.cos(angle), np.sin(angle)])
            pen.line([tuple(centre - reach), tuple(centre + reach)], fill=colour, width=2)
        return
    x, y = row[list(groups[group])] * size
    radius = max(3.0, size.min() / 36)
    if colour == _TRUE_COLOUR:
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=2)
    else:
        pen.line([x - radius, y - radius, x + radius, y + radius], fill=colour, width=2)
        pen.line([x - radius, y + radius, x + radius, y - radius], fill=colour, width=2)


def _scores_of(probe: Probe, label: str) -> Scores:
    return probe.true if label == "true" else probe.shuffled


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error
