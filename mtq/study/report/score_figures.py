"""Figures of scores: learning curves, last scores and aggregates."""

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtq.study.analysis.statistics import Interval
from mtq.study.analysis.summary import THRESHOLDS, Summary
from mtq.study.report.style import DOTS, INK, arm_styles, panels


def learning_curves(summary: Summary, names: Collection[str]) -> Figure:
    """Draws each task's mean score over the epochs with 95 % bands; published curves are thin and dashed.

    Args:
        summary: The statistics of the study.
        names: The names of the arms. Give only a few, because the bands of many arms cover each other.
    """
    results = summary.results
    figure, places = panels(len(results.tasks), row_height=2.6)
    for place, (task, axes) in enumerate(zip(results.tasks, places, strict=True)):
        axes.axhline(results.random[place], color=INK, lw=0.8, ls=DOTS, label="random policy")
        for name, color, line in arm_styles(summary):
            if name not in names:
                continue
            intervals = [epoch[place] for epoch in summary.curves[name]]
            epochs = range(len(intervals))
            axes.plot(epochs, [i.value for i in intervals], color=color, ls=line, lw=1.6, label=_legend(summary, name))
            if intervals[0].low is not None:
                low, high = [i.low for i in intervals], [i.high for i in intervals]
                axes.fill_between(epochs, low, high, color=color, alpha=0.18, lw=0)  # type: ignore[arg-type]
            published = summary.publication.curves.get(name, {}).get(task) if summary.publication else None
            if published is not None:
                axes.plot(
                    range(len(published)), published, color=color, lw=1, ls=(0, (4, 2)), label=f"{name}, published"
                )
        axes.set_title(task)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _limit_to_scores(axes, summary, place)
    places[0].set_ylabel("score")
    _legend_below(figure, places[0])
    return figure


def last_scores(summary: Summary) -> Figure:
    """Draws each arm's mean of the last epochs with its 95 % interval, runs as dots, published means as diamonds."""
    results = summary.results
    figure, places = panels(len(results.tasks), row_height=0.9 + 0.28 * len(results.arms), share_y=True)
    for place, (task, axes) in enumerate(zip(results.tasks, places, strict=True)):
        for row, (name, color, _) in enumerate(arm_styles(summary)):
            runs = results[name].last[:, place]
            axes.plot(runs, np.full(len(runs), row + 0.22), "o", ms=2.5, color=color, alpha=0.5, mew=0)
            _whisker(axes, row, summary.figures["last"][name][place], color)
            comparison = summary.published.get(name, {}).get(task)
            if comparison is not None:
                mean, half = comparison.published.mean, comparison.published.half_interval
                axes.errorbar(mean, row - 0.22, xerr=half, fmt="D", ms=4, mfc="none", color=INK, lw=0.9, capsize=2)
        axes.set_title(task)
        _name_rows(axes, results.names)
    return figure


def aggregates(summary: Summary) -> Figure:
    """Draws each arm's interquartile mean of normalized scores, and the fraction of runs above each score."""
    figure = Figure(figsize=(9.5, 3.0 + 0.12 * len(summary.iqm)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    shown = [arm_style for arm_style in arm_styles(summary) if arm_style[0] in summary.iqm]
    for row, (name, color, line) in enumerate(shown):
        _whisker(left, row, summary.iqm[name], color)
        shares, (low, high) = summary.profiles[name]
        right.plot(THRESHOLDS, shares, color=color, ls=line, lw=1.6, label=name)
        right.fill_between(THRESHOLDS, low, high, color=color, alpha=0.15, lw=0)
    _name_rows(left, [name for name, *_ in shown])
    left.axvline(1, color=INK, lw=0.8, ls=DOTS)
    left.set_xlabel("interquartile mean of normalized scores")
    right.set_xlabel("normalized score τ")
    right.set_ylabel("fraction of runs with a score above τ")
    right.set_ylim(-0.02, 1.02)
    right.legend(fontsize=8)
    return figure


def _limit_to_scores(axes: Axes, summary: Summary, place: int) -> None:
    """Limits the axis to the scores of the runs: intervals of few runs extend far beyond them."""
    scores = np.concatenate([arm.scores[..., place].ravel() for arm in summary.results.arms])
    low, high = float(scores.min()), float(scores.max())
    margin = 0.06 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)


def _legend(summary: Summary, name: str) -> str:
    runs = summary.results[name].runs
    return f"{name} ({runs} run{'s' if runs > 1 else ', no interval'})"


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8.5)


def _whisker(axes: Axes, row: int, interval: Interval, color: str) -> None:
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [row, row], color=color, lw=2.2, solid_capstyle="butt")
    axes.plot(interval.value, row, "o", ms=5.5, color=color)


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))  # more ticks with long numbers would overlap
    axes.grid(axis="x", alpha=0.25, lw=0.6)
