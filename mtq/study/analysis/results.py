"""What a study's folder holds, as arrays."""

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
    """All finished runs of one arm. R runs, E epochs, T tasks.

    Attributes:
        name: Of the arm.
        scores: `[R, E + 1, T]`; row 0 of the epochs is before training.
        seeds: Of the runs.
        seconds: That each run took.
        cosines: Mean cosines between the tasks' gradients, `[E, T, T]`, over all runs; None where nothing is shared.
        parameters: How many the network has.
        settings: As the arm was defined.
        failures: Why runs could not be finished, by seed.
        origins: Command and versions that made the runs, each that there is once.
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
        """E."""
        return self.scores.shape[1] - 1

    @property
    def runs(self) -> int:
        """R."""
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
        """Each run's mean over all epochs but the one before training: the area under its curve, `[R, T]`."""
        return self.scores[:, 1:].mean(axis=1)


FIGURES = {
    "last": "mean of the last epochs, ten if there are as many",
    "final": "last epoch",
    "area": "mean of all epochs (area under the curve)",
}


@dataclasses.dataclass(frozen=True)
class Results:
    """What a study has found out so far.

    Attributes:
        tasks: Their names.
        arms: In the order of the study; those without a finished run are left out.
        reference: Name of the arm that others are compared to.
        random: A random policy's scores, `[T]`.
        plan: What the study consists of.

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
                    f"'{arm.name}', seed {seed}, epoch {epoch}, task '{self.tasks[task]}'. Delete that run and run the "
                    "study on, which makes it anew."
                )
        if self.arms and not np.isfinite(np.asarray(self.random, float)).all():
            raise ValueError(
                f"The scores of a random policy must be finite. Received: {list(self.random)} of the tasks "
                f"{list(self.tasks)}. Delete the study's random.json and run the study on, which makes it anew."
            )

    def __getitem__(self, name: str) -> ArmResult:
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def names(self) -> list[str]:
        """Of the arms."""
        return [arm.name for arm in self.arms]

    @property
    def others(self) -> list[ArmResult]:
        """All arms but the reference."""
        return [arm for arm in self.arms if arm.name != self.reference]

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """The further pairs of arms that the study compares, if both arms have finished runs."""
        pairs = [(first, second) for first, second in self.plan.get("comparisons", [])]
        return [pair for pair in pairs if set(pair) <= set(self.names)]

    def normalized(self, values: np.ndarray) -> np.ndarray:
        """Scores on a scale on which a random policy has 0, and the reference's mean over its last epochs is 1.

        Args:
            values: `[…, T]`.

        Returns:
            The normalized values, `[…, T]`; NaN for tasks on which the reference does not exceed a random policy by
            more than its noise.
        """
        span = self[self.reference].last.mean(axis=0) - self.random
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.is_learnt(self.reference), (values - self.random) / span, np.nan)

    def is_learnt(self, name: str) -> np.ndarray:
        """Says on which tasks an arm's last epochs are better than a random policy by more than the noise.

        Args:
            name: The name of the arm.

        Returns:
            A bool for each task, `[T]`.
        """
        return is_learnt(self[name].scores[:, 1:][:, -LAST:], self.random)


def _distinct(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _check_records(name: str, records: list[RunRecord], num_tasks: int) -> None:
    """Raises a ValueError unless all runs of an arm are that arm's, and their scores have one shape."""
    shape = (len(records[0].scores), num_tasks)
    for record in records:
        if record.arm != name or record.scores.shape != shape:
            raise ValueError(
                f"The runs of arm '{name}' must have scores of one shape, {shape}. Received: those of seed "
                f"{record.seed}, which are of arm {record.arm!r} and the shape {record.scores.shape}. Delete that run "
                "and run the study on, which makes it anew."
            )


def load_results(path: str | Path) -> Results:
    """Reads all finished runs of a study.

    Args:
        path: Its folder.

    Raises:
        FileNotFoundError: There is no study, or it has no finished run of its reference yet.
        ValueError: `study.json` is not a study's plan, or names an arm whose folder would be outside the study's; or a
            file of a run is damaged, or of another study.
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
            f"The files of a study must be whole, and those that Study.run wrote. Received: in {str(path)!r} one that "
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
            f"There must be a finished run of the reference, {plan['reference']!r}. Received: {str(path)!r}, which has "
            f"runs of {[arm.name for arm in arms]}. Run the study on."
        )
    random = json.loads((folder.path / "random.json").read_text())
    return Results(tasks, arms, plan["reference"], np.array([random[name] for name in tasks]), plan)
