"""Tests of whether an arm helped or hurt a task, compared with another arm."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtq.study.analysis.results import Results
from mtq.study.analysis.statistics import RESAMPLES, SIGNIFICANCE, corrected, permutation_p_value

HELPED, HURT, NO_EVIDENCE = "helped", "hurt", "no evidence"
NOT_TESTED, TOO_FEW = "one run: not tested", "too few runs to tell"


class Transfer(NamedTuple):
    """The difference between two arms on one task, and its test.

    Attributes:
        arm: The name of the arm.
        task: The name of the task.
        difference: The arm's mean score minus the other arm's.
        p: The p-value of the test before correction; NaN if no test was made.
        p_corrected: The p-value corrected for the number of tests in the table.
        verdict: The verdict: `"helped"`, `"hurt"` or `"no evidence"`; `NOT_TESTED` if no test was made, or `TOO_FEW` if
            no test of so few runs could find a difference.
        against: The name of the other arm.
    """

    arm: str
    task: str
    difference: float
    p: float
    p_corrected: float
    verdict: str
    against: str


def transfer_table(results: Results, figure: str = "last") -> list[Transfer]:
    """Tests every other arm against the reference on every task.

    Args:
        results: The results of a study.
        figure: The figure of the runs: `"last"`, `"final"` or `"area"`.

    Returns:
        A row for each arm and task.
    """
    return compare(results, [(arm.name, results.reference) for arm in results.others], figure)


def compare(results: Results, pairs: Sequence[tuple[str, str]], figure: str = "last") -> list[Transfer]:
    """Tests pairs of arms on every task, with p-values corrected by Holm's method over the whole table.

    Args:
        results: The results of a study.
        pairs: Pairs of names of arms. A difference is the first arm's score minus the second's.
        figure: The figure of the runs: `"last"`, `"final"` or `"area"`.

    Returns:
        A row for each pair and task.
    """
    runs = {arm.name: getattr(arm, figure) for arm in results.arms}  # [R, T] each
    tests = [(*pair, task) for pair in pairs for task in range(len(results.tasks))]
    p_values = np.full(len(tests), np.nan)
    for place, (arm, against, task) in enumerate(tests):
        if min(len(runs[arm]), len(runs[against])) > 1:
            p_values[place] = permutation_p_value(runs[arm][:, task], runs[against][:, task], seed=place)
    rows = []
    made = int((~np.isnan(p_values)).sum())
    for (arm, against, task), p, raised in zip(tests, p_values, corrected(p_values), strict=True):
        difference = float(runs[arm][:, task].mean() - runs[against][:, task].mean())
        verdict = _verdict(difference, raised)
        if verdict == NO_EVIDENCE and smallest_p_value(len(runs[arm]), len(runs[against])) * made >= SIGNIFICANCE:
            verdict = TOO_FEW
        rows.append(Transfer(arm, results.tasks[task], difference, float(p), float(raised), verdict, against))
    return rows


def smallest_p_value(runs: int, others: int) -> float:
    """Computes the smallest p-value of the permutation test: that of two arms whose scores do not overlap.

    Args:
        runs: The number of runs of one arm.
        others: The number of runs of the other arm.
    """
    return max(2 / math.comb(runs + others, runs), 2 / (RESAMPLES + 1))


def _verdict(difference: float, p: float) -> str:
    if np.isnan(p):
        return NOT_TESTED
    if p >= SIGNIFICANCE:
        return NO_EVIDENCE
    return HELPED if difference > 0 else HURT


def without_unlearnt(results: Results, rows: list[Transfer]) -> list[Transfer]:
    """Sets the verdict to "no evidence" where neither arm is better than a random policy.

    Args:
        results: The results of a study.
        rows: The tests of its arms.

    Returns:
        The rows, in the same order.
    """
    learned = {arm.name: dict(zip(results.tasks, results.is_learnt(arm.name), strict=True)) for arm in results.arms}

    def is_evidence(row: Transfer) -> bool:
        return row.verdict not in (HELPED, HURT) or learned[row.arm][row.task] or learned[row.against][row.task]

    return [row if is_evidence(row) else row._replace(verdict=NO_EVIDENCE) for row in rows]
