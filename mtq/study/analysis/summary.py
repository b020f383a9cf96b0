"""Every statistic of a study, computed once for its tables, pictures and CSV file."""

import dataclasses
from pathlib import Path

import numpy as np

from mtq.study.analysis.published import Comparison, Published
from mtq.study.analysis.results import FIGURES, Results
from mtq.study.analysis.similarity import Similarity, similarities
from mtq.study.analysis.statistics import Interval, interquartile_mean, mean_interval, performance_profile
from mtq.study.analysis.transfer import Transfer, compare, transfer_table, without_unlearnt

THRESHOLDS = np.linspace(0.0, 1.5, 61)
TESTED = ("last", "area")


@dataclasses.dataclass(frozen=True)
class Summary:
    """Statistics of all arms, by name. E epochs, T tasks.

    Attributes:
        results: What they are of.
        curves: Mean scores, for each epoch from 0 for each task.
        figures: By the names of `FIGURES`, then by arm, for each task.
        normalized: Of the last epochs, for each task.
        iqm: Interquartile mean over all runs and tasks of these; none where no task has a scale.
        profiles: Shares of runs above `THRESHOLDS`, and the band around them.
        transfer: By the names of `TESTED`.
        comparisons: The tests of the study's further pairs of arms, by the names of `TESTED`.
        similarity: Of the features to those of the reference.
        why_no_similarity: What was in the way of comparing them, if anything.
        published: Beside published figures, by arm and task.
        publication: Where these are from, and their curves.
    """

    results: Results
    curves: dict[str, list[list[Interval]]]
    figures: dict[str, dict[str, list[Interval]]]
    normalized: dict[str, list[Interval]]
    iqm: dict[str, Interval]
    profiles: dict[str, tuple[np.ndarray, np.ndarray]]
    transfer: dict[str, list[Transfer]]
    comparisons: dict[str, list[Transfer]]
    similarity: list[Similarity]
    why_no_similarity: str
    published: dict[str, dict[str, Comparison]]
    publication: Published | None


def summarize(results: Results, path: str | Path | None = None, publication: Published | None = None) -> Summary:
    """Computes them.

    Args:
        results: Of a study.
        path: Its folder, in which the trained networks are; without it features are not compared.
        publication: Published figures to be laid beside.
    """
    likeness, why_not = _similarities(results, path)
    normalized = {arm.name: results.normalized(arm.last) for arm in results.arms}
    scaled = {name: values[:, ~np.isnan(values).any(axis=0)] for name, values in normalized.items()}
    scaled = {name: values for name, values in scaled.items() if values.size}
    return Summary(
        results,
        {arm.name: [mean_interval(scores) for scores in arm.scores.swapaxes(0, 1)] for arm in results.arms},
        {figure: {arm.name: mean_interval(getattr(arm, figure)) for arm in results.arms} for figure in FIGURES},
        {name: mean_interval(values) for name, values in normalized.items()},
        {name: interquartile_mean(values) for name, values in scaled.items()},
        {name: performance_profile(values, THRESHOLDS) for name, values in scaled.items()},
        {figure: without_unlearnt(results, transfer_table(results, figure)) for figure in TESTED},
        {figure: without_unlearnt(results, compare(results, results.comparisons, figure)) for figure in TESTED},
        likeness,
        why_not,
        {arm.name: publication.compare(arm, results.tasks) for arm in results.arms} if publication else {},
        publication,
    )


def _similarities(results: Results, path: str | Path | None) -> tuple[list[Similarity], str]:
    """The similarities; or none, and why: networks of a user's own layers may not load in this process."""
    if path is None:
        return [], ""
    try:
        return similarities(results, path), ""
    except (ValueError, TypeError, AttributeError, OSError) as error:
        return [], f"The networks could not be compared: {error}"
