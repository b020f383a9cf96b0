"""Every number of a report in one CSV file."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mtq.storage.files import write_text
from mtq.study.analysis.statistics import Interval
from mtq.study.analysis.summary import THRESHOLDS, Summary

COLUMNS = ("section", "arm", "task", "of", "value", "low", "high", "note")


def write_numbers(summary: Summary, path: Path) -> None:
    """Writes every number of a report to a CSV file, one row each.

    The columns are the section of the report, the arm, the task, the subject of the number (`of`: an epoch, a seed,
    another task …), the value, the ends of its 95 % interval if it has one, and a note.

    Args:
        summary: The statistics of the study.
        path: The path of the file.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(cell) for cell in row] for row in _rows(summary))
    write_text(path, buffer.getvalue())


def _text(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _rows(summary: Summary) -> Iterator[tuple[Any, ...]]:
    results = summary.results
    tasks = results.tasks

    def interval_row(section: str, arm: str, task: str, subject: Any, interval: Interval) -> tuple[Any, ...]:
        return (section, arm, task, subject, *interval, "")

    for task, value in zip(tasks, results.random, strict=True):
        yield ("random policy", "", task, "", float(value), None, None, "")
    for arm in results.arms:
        yield ("parameters", arm.name, "", "", arm.parameters, None, None, "")
        for seed, seconds in zip(arm.seeds, arm.seconds, strict=True):
            yield ("seconds", arm.name, "", f"seed {seed}", seconds, None, None, "")
    for figure, by_arm in summary.figures.items():
        for name, intervals in by_arm.items():
            runs = getattr(results[name], figure)
            for place, task in enumerate(tasks):
                yield interval_row("figures", name, task, figure, intervals[place])
                if len(runs) > 1:
                    yield ("figures", name, task, f"{figure}, SD", float(runs[:, place].std(ddof=1)), None, None, "")
                for seed, run in zip(results[name].seeds, runs, strict=True):
                    yield ("runs", name, task, f"{figure}, seed {seed}", float(run[place]), None, None, "")
    for name, intervals in summary.normalized.items():
        for place, task in enumerate(tasks):
            yield interval_row("normalized", name, task, "last", intervals[place])
    for name, interval in summary.iqm.items():
        yield interval_row("interquartile mean", name, "", "last", interval)
    for section, tables in (("transfer", summary.transfer), ("comparisons", summary.comparisons)):
        for figure, rows in tables.items():
            for row in rows:
                subject = figure if section == "transfer" else f"{figure}, against {row.against}"
                yield (section, row.arm, row.task, f"{subject}, difference", row.difference, None, None, row.verdict)
                yield (section, row.arm, row.task, f"{subject}, p", row.p, None, None, "")
                yield (section, row.arm, row.task, f"{subject}, p corrected", row.p_corrected, None, None, "")
    for name, by_task in summary.published.items():
        for task, comparison in by_task.items():
            note = "within two standard errors" if comparison.agrees else "outside"
            mean, half = comparison.published.mean, comparison.published.half_interval
            yield ("published", name, task, "last", mean, mean - half, mean + half, note)
            yield ("published", name, task, "last, tolerance", comparison.tolerance, None, None, "")
    for similarity in summary.similarity:
        note = f"{similarity.pairs} pairs"
        yield ("features", similarity.arm, similarity.task, "CKA", similarity.value, None, None, note)
    for arm in results.arms:
        if arm.cosines is None:
            continue
        for epoch, matrix in enumerate(arm.cosines, 1):
            for i, j in zip(*np.triu_indices(len(tasks), k=1), strict=True):
                yield ("cosines", arm.name, tasks[i], f"{tasks[j]}, epoch {epoch}", float(matrix[i, j]), None, None, "")
    for name, (shares, bands) in summary.profiles.items():
        for threshold, share, low, high in zip(THRESHOLDS, shares, *bands, strict=True):
            yield ("profile", name, "", f"above {threshold:.3f}", float(share), float(low), float(high), "")
    for name, epochs in summary.curves.items():
        for epoch, intervals in enumerate(epochs):
            for task, interval in zip(tasks, intervals, strict=True):
                yield interval_row("curves", name, task, f"epoch {epoch}", interval)
    if summary.publication is not None:
        for name, curves in summary.publication.curves.items():
            for task, curve in curves.items():
                for epoch, value in enumerate(curve):
                    yield ("published curves", name, task, f"epoch {epoch}", float(value), None, None, "")
