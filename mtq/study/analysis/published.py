"""Published figures to hold a study against."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtq.storage.files import write_json
from mtq.storage.folders import check_kind
from mtq.study.analysis.results import ArmResult


class PublishedFigure(NamedTuple):
    """The mean of the last epochs, as published.

    Attributes:
        mean: Over all runs.
        std: Of one run.
        runs: How many there were.
    """

    mean: float
    std: float
    runs: int

    @property
    def half_interval(self) -> float:
        """Half the 95 % interval of the mean."""
        return 1.96 * self.std / self.runs**0.5


class Comparison(NamedTuple):
    """A published figure and ours.

    Attributes:
        published: What is published.
        ours: Our mean.
        runs: Of which so many runs.
        tolerance: Two standard errors of the mean of so many published runs.
    """

    published: PublishedFigure
    ours: float
    runs: int

    @property
    def tolerance(self) -> float:
        """Two standard errors of the mean of as many published runs as ours."""
        return 2 * self.published.std / self.runs**0.5

    @property
    def agrees(self) -> bool:
        """Whether ours is within the tolerance."""
        return abs(self.ours - self.published.mean) <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Published:
    """Published curves and figures, by the names of the arms of ours that they belong to.

    Attributes:
        source: Where they were published.
        curves: For each arm, for each task, the mean score in each epoch from 0 on.
        figures: For each arm, for each task, the mean of the last epochs.
    """

    source: str
    curves: Mapping[str, Mapping[str, np.ndarray]]
    figures: Mapping[str, Mapping[str, PublishedFigure]]

    @classmethod
    def load(cls, source: str, curves: Path, figures: Path, arms: Mapping[str, str]) -> "Published":
        """Reads them.

        Args:
            source: Where they were published.
            curves: CSV file with the columns `arm, task, epoch, mean_discounted_return`.
            figures: CSV file with the columns `arm, task, runs, mean_last_10, std_last_10`.
            arms: The arms' names in the files, by the names of ours.
        """
        rows = _read(curves)
        by_arm = {
            ours: {
                task: np.array(
                    [
                        float(row["mean_discounted_return"])
                        for row in sorted(rows, key=lambda row: int(row["epoch"]))
                        if (row["arm"], row["task"]) == (theirs, task)
                    ]
                )
                for task in dict.fromkeys(row["task"] for row in rows)  # in the file's order, in every process
            }
            for ours, theirs in arms.items()
        }
        known = {
            (row["arm"], row["task"]): PublishedFigure(
                float(row["mean_last_10"]), float(row["std_last_10"]), int(row["runs"])
            )
            for row in _read(figures)
        }
        by_figure = {
            ours: {task: figure for (arm, task), figure in known.items() if arm == theirs}
            for ours, theirs in arms.items()
        }
        return cls(source, by_arm, by_figure)

    def save(self, path: Path) -> None:
        """Writes it as JSON, for the report of a folder to be made again."""
        check_kind(path, "published figures", "file of such figures", lambda file: b'"curves"' in file.read())
        curves = {arm: {task: curve.tolist() for task, curve in tasks.items()} for arm, tasks in self.curves.items()}
        write_json(path, {"source": self.source, "curves": curves, "figures": self.figures})

    @classmethod
    def saved(cls, path: Path) -> "Published | None":
        """Reads what `save` wrote; None if there is nothing."""
        if not path.exists():
            return None
        saved = json.loads(path.read_text())
        curves = {arm: {task: np.array(curve) for task, curve in of.items()} for arm, of in saved["curves"].items()}
        figures = {
            arm: {task: PublishedFigure(*one) for task, one in of.items()} for arm, of in saved["figures"].items()
        }
        return cls(saved["source"], curves, figures)

    def compare(self, arm: ArmResult, tasks: Sequence[str]) -> dict[str, Comparison]:
        """An arm's mean of the last epochs beside the published one, by task; nothing if ours had other epochs."""
        if {len(curve) for curve in self.curves.get(arm.name, {}).values()} != {arm.epochs + 1}:
            return {}  # of runs of another length
        figures = self.figures.get(arm.name, {})
        means = arm.last.mean(axis=0)
        return {
            task: Comparison(figures[task], float(means[place]), arm.runs)
            for place, task in enumerate(tasks)
            if task in figures
        }


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
