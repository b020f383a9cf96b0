"""Published results with which a study is compared."""

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
    """The published score of an arm on a task: the mean of the last epochs.

    Attributes:
        mean: The mean over all runs.
        std: The standard deviation between runs.
        runs: The number of runs.
    """

    mean: float
    std: float
    runs: int

    @property
    def half_interval(self) -> float:
        """The half-width of the 95 % interval of the mean."""
        return 1.96 * self.std / self.runs**0.5


class Comparison(NamedTuple):
    """A published figure beside the one of this study.

    Attributes:
        published: The published figure.
        ours: The mean over the runs of this study.
        runs: The number of runs of this study.
    """

    published: PublishedFigure
    ours: float
    runs: int

    @property
    def tolerance(self) -> float:
        """Two standard errors of the mean of as many published runs as this study has."""
        return 2 * self.published.std / self.runs**0.5

    @property
    def agrees(self) -> bool:
        """Whether the mean of this study is within the tolerance of the published one."""
        return abs(self.ours - self.published.mean) <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Published:
    """Published curves and figures, by the names of the study's arms to which they correspond.

    Attributes:
        source: The publication.
        curves: The mean score in each epoch from 0 on, by arm and task.
        figures: The mean of the last epochs, by arm and task.
    """

    source: str
    curves: Mapping[str, Mapping[str, np.ndarray]]
    figures: Mapping[str, Mapping[str, PublishedFigure]]

    @classmethod
    def load(cls, source: str, curves: Path, figures: Path, arms: Mapping[str, str]) -> "Published":
        """Reads published curves and figures from CSV files.

        Args:
            source: The publication.
            curves: The path of a CSV file with the columns `arm, task, epoch, mean_discounted_return`.
            figures: The path of a CSV file with the columns `arm, task, runs, mean_last_10, std_last_10`.
            arms: The names of the arms in the files, by the names of the study's arms.
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
        by_name = {
            (row["arm"], row["task"]): PublishedFigure(
                float(row["mean_last_10"]), float(row["std_last_10"]), int(row["runs"])
            )
            for row in _read(figures)
        }
        by_figure = {
            ours: {task: figure for (arm, task), figure in by_name.items() if arm == theirs}
            for ours, theirs in arms.items()
        }
        return cls(source, by_arm, by_figure)

    def save(self, path: Path) -> None:
        """Writes the curves and figures as JSON, so that the report of a folder can be written again.

        Args:
            path: The path of the file.
        """
        check_kind(path, "published figures", "file of such figures", lambda file: b'"curves"' in file.read())
        curves = {arm: {task: curve.tolist() for task, curve in tasks.items()} for arm, tasks in self.curves.items()}
        write_json(path, {"source": self.source, "curves": curves, "figures": self.figures})

    @classmethod
    def saved(cls, path: Path) -> "Published | None":
        """Reads the file that `save` wrote; returns None if it does not exist.

        Args:
            path: The path of the file.
        """
        if not path.exists():
            return None
        saved = json.loads(path.read_text())
        curves = {
            arm: {task: np.array(curve) for task, curve in tasks.items()} for arm, tasks in saved["curves"].items()
        }
        figures = {
            arm: {task: PublishedFigure(*figure) for task, figure in tasks.items()}
            for arm, tasks in saved["figures"].items()
        }
        return cls(saved["source"], curves, figures)

    def compare(self, arm: ArmResult, tasks: Sequence[str]) -> dict[str, Comparison]:
        """Compares an arm's means of the last epochs with the published ones.

        Args:
            arm: The results of the arm.
            tasks: The names of the tasks.

        Returns:
            The comparisons by task; none if the published runs have another number of epochs.
        """
        if {len(curve) for curve in self.curves.get(arm.name, {}).values()} != {arm.epochs + 1}:
            return {}
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
