"""The results of a study, read from its folder into arrays."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mtq.study.analysis.progress_reached import is_learnt
from mtq.study.running.folder import StudyFolder
from mtq.study.running.record import RunRecord

LAST = 10


@dataclasses.dataclass(frozen=True)
class ArmResult:
    """All finished runs of one arm: R runs of E epochs on T tasks.

    Attributes:
        name: The name of the arm.
        scores: The scores, `[R, E + 1, T]`; epoch 0 is before training.
        seeds: The seeds of the runs.
        seconds: The duration of each run in seconds.
        cosines: The mean cosines between the tasks' gradients over all runs, `[E, T, T]`; None if the tasks share no
            weights.
        parameters: The number of parameters of the network.
        settings: The settings of the arm, as in the study's plan.
        failures: The errors that ended unfinished runs, by seed.
        origins: The commands that made the runs with the versions of the packages, without duplicates.
    """

    name: str
    scores: np.ndarray
    seeds: list[int] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    cosines: np.ndarray | None = None
    parameters: int | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    failures: dict[int, str] = dataclasses.field(default_factory=dict)
    origins: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def epochs(self) -> int:
        """The number of epochs E."""
        return self.scores.shape[1] - 1

    @property
    def runs(self) -> int:
        """The number of finished runs R."""
        return len(self.scores)

    @property
    def final(self) -> np.ndarray:
        """Each run's score after the last epoch, `[R, T]`."""
        return self.scores[:, -1]

    @property
    def last(self) -> np.ndarray:
        """Each run's mean over the last ten epochs, or over all if there are fewer, `[R, T]`."""
        return self.scores[:, 1:][:, -LAST:].mean(axis=1)

    @property
    def area(self) -> np.ndarray:
        """Each run's mean over all epochs after training starts: the area under its curve, `[R, T]`."""
        return self.scores[:, 1:].mean(axis=1)


FIGURES = {
    "last": "mean of the last ten epochs, or of all epochs if there are fewer",
    "final": "last epoch",
    "area": "mean of all epochs (area under the curve)",
}


@dataclasses.dataclass(frozen=True)
class Results:
    """The results of the runs that a study has finished so far.

    Attributes:
        tasks: The names of the tasks.
        arms: The results of the arms, in the order of the study; arms without a finished run are left out.
        reference: The name of the arm that the others are compared to.
        random: The scores of a random policy, `[T]`.
        plan: The plan of the study.

    Raises:
        ValueError: A score is not finite.
    """

    tasks: tuple[str, ...]
    arms: list[ArmResult]
    reference: str
    random: np.ndarray
    plan: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for arm in self.arms:
            wrong = np.argwhere(~np.isfinite(arm.scores))
            if len(wrong):
                run, epoch, task = wrong[0]
                seed = arm.seeds[run] if arm.seeds else run
                raise ValueError(
                    f"The scores of a study must be finite. Received: {arm.scores[run, epoch, task]} of arm "
                    f"'{arm.name}', seed {seed}, epoch {epoch}, task '{self.tasks[task]}'. Delete that run and start "
                    "the study again, which repeats it."
                )
        if self.arms and not np.isfinite(np.asarray(self.random, float)).all():
            raise ValueError(
                f"The scores of a random policy must be finite. Received: {list(self.random)} of the tasks "
                f"{list(self.tasks)}. Delete the study's random.json and start the study again, which writes it again."
            )

    def __getitem__(self, name: str) -> ArmResult:
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def names(self) -> list[str]:
        """The names of the arms."""
        return [arm.name for arm in self.arms]

    @property
    def others(self) -> list[ArmResult]:
        """All arms but the reference."""
        return [arm for arm in self.arms if arm.name != self.reference]

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """The further pairs of arms that the study compares, where both arms have finished runs."""
        pairs = [(first, second) for first, second in self.plan.get("comparisons", [])]
        return [pair for pair in pairs if set(pair) <= set(self.names)]

    def normalized(self, values: np.ndarray) -> np.ndarray:
        """Normalizes scores: 0 is the score of a random policy, 1 the reference's mean over its last epochs.

        Args:
            values: The scores, `[…, T]`.

        Returns:
            The normalized values, `[…, T]`; NaN for tasks on which the reference does not exceed a random policy by
            more than its noise.
        """
        span = self[self.reference].last.mean(axis=0) - self.random
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.is_learnt(self.reference), (values - self.random) / span, np.nan)

    def is_learnt(self, name: str) -> np.ndarray:
        """Returns on which tasks an arm's last epochs are better than a random policy by more than the noise.

        Args:
            name: The name of the arm.

        Returns:
            A bool for each task, `[T]`.
        """
        return is_learnt(self[name].scores[:, 1:][:, -LAST:], self.random)


def _distinct(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _check_records(name: str, records: list[RunRecord], num_tasks: int) -> None:
    """Raises a ValueError unless all records belong to the arm and their scores have the same shape."""
    shape = (len(records[0].scores), num_tasks)
    for record in records:
        if record.arm != name or record.scores.shape != shape:
            raise ValueError(
                f"The runs of arm '{name}' must have scores of the same shape, {shape}. Received: the run of seed "
                f"{record.seed}, of arm {record.arm!r}, with scores of shape {record.scores.shape}. Delete that run "
                "and start the study again, which repeats it."
            )


def load_results(path: str | Path) -> Results:
    """Reads all finished runs of a study.

    Args:
        path: The folder of the study.

    Raises:
        FileNotFoundError: The folder holds no study, or the study has no finished run of its reference yet.
        ValueError: `study.json` is not a study's plan, or names an arm whose folder would be outside the study's; or a
            file of a run is damaged or belongs to another study.
    """
    try:
        return _load_results(path)
    except (
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        json.JSONDecodeError,
        zipfile.BadZipFile,
        EOFError,
    ) as error:
        raise ValueError(
            f"The files of a study must be complete, and written by Study.run. Received: in {str(path)!r} one that "
            f"fails with {type(error).__name__}: {error}."
        ) from error


def _load_results(path: str | Path) -> Results:
    folder = StudyFolder(path)
    plan = folder.plan
    folder.check_names(plan)
    tasks = tuple(task["config"]["name"] for task in plan["tasks"]["config"]["tasks"])
    arms = []
    for name, settings in plan["arms"].items():
        records = folder.records(name)
        if not records:
            continue
        _check_records(name, records, len(tasks))
        cosines = [record.cosines for record in records if record.cosines is not None]
        arms.append(
            ArmResult(
                name,
                np.stack([record.scores for record in records]),
                [record.seed for record in records],
                [record.seconds for record in records],
                np.mean(cosines, axis=0) if cosines else None,
                settings["parameters"],
                settings,
                folder.failures(name),
                _distinct([record.origin for record in records]),
            )
        )
    if plan["reference"] not in [arm.name for arm in arms]:
        raise FileNotFoundError(
            f"A study must have a finished run of its reference, {plan['reference']!r}. Received: {str(path)!r}, which "
            f"has runs of {[arm.name for arm in arms]}. Start the study again, which makes the missing runs."
        )
    random = json.loads((folder.path / "random.json").read_text())
    return Results(tasks, arms, plan["reference"], np.array([random[name] for name in tasks]), plan)
