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
    """The statistics of a study.

    Attributes:
        results: The results of the study.
        curves: The mean scores by arm, for each epoch from 0 and each task.
        figures: The mean figures by the names of `FIGURES` and by arm, for each task.
        normalized: The mean normalized scores of the last epochs by arm, for each task.
        iqm: The interquartile mean of the normalized scores of all runs and tasks, by arm; empty if no task has a
            scale.
        profiles: The fraction of normalized scores above `THRESHOLDS` with the ends of its band, by arm.
        transfer: The tests of each arm against the reference, by the names of `TESTED`.
        comparisons: The tests of the study's further pairs of arms, by the names of `TESTED`.
        similarity: The similarity of each arm's features to those of the reference.
        why_no_similarity: The reason why the features could not be compared; empty if there is none.
        published: The comparisons with published figures, by arm and task.
        publication: The published results; None if there are none.
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
    """Computes the statistics of a study.

    Args:
        results: The results of the study.
        path: The folder of the study with the trained networks; None to leave out the comparison of features.
        publication: The published results with which the study is compared.
    """
    similarity, why_no_similarity = _similarities(results, path)
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
        similarity,
        why_no_similarity,
        {arm.name: publication.compare(arm, results.tasks) for arm in results.arms} if publication else {},
        publication,
    )


def _similarities(results: Results, path: str | Path | None) -> tuple[list[Similarity], str]:
    """Returns the similarities; or none and the reason: networks with a user's own layers may fail to load here."""
    if path is None:
        return [], ""
    try:
        return similarities(results, path), ""
    except (ValueError, TypeError, AttributeError, OSError) as error:
        return [], f"The networks could not be compared: {error}"
