"""Figures of matrices: transfer, the cosines of the gradients, and the similarity of features."""

import itertools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtq.study.analysis.summary import Summary
from mtq.study.analysis.transfer import HELPED, HURT, NO_EVIDENCE
from mtq.study.report.style import DOTS, INK, arm_styles

_BLACK, _NO_SCALE = "#111111", "#d0d0d0"
_DARK = 0.6  # the fraction of a map's range above which its colors are so dark that the text is white


def transfer_map(summary: Summary) -> Figure:
    """Draws the difference of each arm to the reference, in normalized scores of the last epochs, and the verdict."""
    results = summary.results
    rows = {(row.arm, row.task): row for row in summary.transfer["last"]}
    arms = [arm.name for arm in results.others]
    values = np.array([results.normalized(results[name].last.mean(axis=0)) - 1 for name in arms]).reshape(len(arms), -1)
    limit = max(0.1, float(np.nanmax(np.abs(values), initial=0)))
    figure, axes = _heat_map(values, arms, results.tasks, limit=limit)
    for (i, name), (j, task) in itertools.product(enumerate(arms), enumerate(results.tasks)):
        verdict = rows[name, task].verdict
        sign = {HELPED: "helped ", HURT: "hurt "}.get(verdict, "")
        has_scale = not np.isnan(values[i, j])
        text = f"{sign}{_rounded(values[i, j]):+.2f}" if has_scale else sign.strip() or NO_EVIDENCE
        color = "white" if abs(values[i, j]) > _DARK * limit else _BLACK
        axes.text(j, i, text, ha="center", va="center", fontsize=8.5, weight="bold" if sign else None, color=color)
    return figure


def cosine_maps(summary: Summary) -> Figure | None:
    """Draws the mean cosines between the tasks' gradients over the whole training, and their mean in each epoch."""
    tasks = summary.results.tasks
    seen = {arm.name: arm.cosines for arm in summary.results.arms if arm.cosines is not None}
    if not seen or len(tasks) < 2:
        return None
    columns = min(len(seen), 4)
    lines = math.ceil(len(seen) / columns)
    side = 0.55 * len(tasks) + 1.1
    figure = Figure(figsize=(max(9.5, side * columns), side * lines + 2.8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[side * lines, 2.8])
    places = above.subplots(lines, columns, squeeze=False).ravel()
    for unused in places[len(seen) :]:
        unused.set_axis_off()
    for place, (axes, (name, cosines)) in enumerate(zip(places, seen.items(), strict=False)):
        mean = cosines.mean(axis=0)
        axes.imshow(mean, cmap="RdBu", vmin=-1, vmax=1)
        axes.set_title(name)
        axes.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right", fontsize=7.5)
        axes.set_yticks(range(len(tasks)), [""] * len(tasks) if place % columns else tasks, fontsize=7.5)
        _write_values(axes, mean, dark=np.abs(mean) > _DARK, size=7)
    _mean_cosines(below.subplots(), summary, seen)
    return figure


def _mean_cosines(axes: Axes, summary: Summary, seen: dict[str, np.ndarray]) -> None:
    for name, color, line in arm_styles(summary):
        if name in seen:
            pairs = np.triu_indices(seen[name].shape[-1], k=1)
            means = [matrix[pairs].mean() for matrix in seen[name]]
            axes.plot(range(1, len(means) + 1), means, color=color, ls=line, label=name)
    axes.axhline(0, color=INK, lw=0.8, ls=DOTS)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("mean cosine of all pairs")
    axes.legend(fontsize=8, ncols=2)


def similarity_map(summary: Summary) -> Figure | None:
    """Draws the similarity of each arm's features to those of the reference; returns None if there is none."""
    if not summary.similarity:
        return None
    names = list(dict.fromkeys(row.arm for row in summary.similarity))
    by_arm_and_task = {(row.arm, row.task): row.value for row in summary.similarity}
    values = np.array([[by_arm_and_task[name, task] for task in summary.results.tasks] for name in names])
    figure, axes = _heat_map(values, names, summary.results.tasks, limit=None)
    _write_values(axes, values, dark=values < 0.5, size=8.5)
    return figure


def _rounded(value: float) -> float:
    """Rounds to two decimals, and turns -0.0 into 0.0."""
    return round(float(value), 2) + 0.0


def _write_values(axes: Axes, values: np.ndarray, dark: np.ndarray, size: float) -> None:
    for (i, j), value in np.ndenumerate(values):
        color = "white" if dark[i, j] else _BLACK
        axes.text(j, i, f"{_rounded(value):.2f}", ha="center", va="center", fontsize=size, color=color)


def _heat_map(
    values: np.ndarray, rows: list[str], columns: tuple[str, ...], limit: float | None
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(2.4 + 1.25 * len(columns), 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    if limit is None:
        axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    else:
        axes.set_facecolor(_NO_SCALE)  # visible where a value is NaN
        axes.imshow(values, cmap="PRGn", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    return figure, axes
