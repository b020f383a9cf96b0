"""Whether an arm helped or hurt a task, or whether nothing can be said."""

import math
from typing import NamedTuple

import numpy as np

from mtq.study.results import Results
from mtq.study.statistics import RESAMPLES, SIGNIFICANCE, corrected, permutation_p_value

HELPED, HURT, NO_EVIDENCE = "helped", "hurt", "no evidence"
NOT_TESTED, TOO_FEW = "one run: not tested", "too few runs to tell"


class Transfer(NamedTuple):
    """How one arm stands to the reference on one task.

    Attributes:
        arm: Its name.
        task: Likewise.
        difference: Of the mean scores, the arm's minus the reference's.
        p: Of the test, before correction; NaN where there was none.
        p_corrected: For the number of all tests in the table.
        verdict: `"helped"`, `"hurt"`, `"no evidence"`; or that there was no test, or none that could find anything.
    """

    arm: str
    task: str
    difference: float
    p: float
    p_corrected: float
    verdict: str


def transfer_table(results: Results, figure: str = "last") -> list[Transfer]:
    """Tests every other arm against the reference on every task.

    Two-sided studentized permutation tests, corrected by Holm's method over the whole table.

    Args:
        results: Of a study.
        figure: Of which figure of the runs: `"last"`, `"final"` or `"area"`.

    Returns:
        A row for each arm and task.
    """
    reference = getattr(results[results.reference], figure)
    pairs = [(arm, task) for arm in results.others for task in range(len(results.tasks))]
    p_values = np.full(len(pairs), np.nan)
    for place, (arm, task) in enumerate(pairs):
        own = getattr(arm, figure)
        if min(len(own), len(reference)) > 1:
            p_values[place] = permutation_p_value(own[:, task], reference[:, task], seed=place)
    rows = []
    tests = int((~np.isnan(p_values)).sum())
    for (arm, task), p, raised in zip(pairs, p_values, corrected(p_values), strict=True):
        difference = float(getattr(arm, figure)[:, task].mean() - reference[:, task].mean())
        verdict = _verdict(difference, raised)
        if verdict == NO_EVIDENCE and smallest_p_value(arm.runs, len(reference)) * tests >= SIGNIFICANCE:
            verdict = TOO_FEW
        rows.append(Transfer(arm.name, results.tasks[task], difference, float(p), float(raised), verdict))
    return rows


def smallest_p_value(runs: int, others: int) -> float:
    """What the test gives for runs that are all above the others; how far does not matter.

    Args:
        runs: Of one arm.
        others: Of the other.
    """
    return max(2 / math.comb(runs + others, runs), 2 / (RESAMPLES + 1))


def _verdict(difference: float, p: float) -> str:
    if np.isnan(p):
        return NOT_TESTED
    if p >= SIGNIFICANCE:
        return NO_EVIDENCE
    return HELPED if difference > 0 else HURT


def without_unlearnt(results: Results, rows: list[Transfer]) -> list[Transfer]:
    """The rows, with no evidence where neither arm is better than random: which of two bad ones is worse says nothing.

    Args:
        results: The results of a study.
        rows: Tests of its arms.
    """
    learnt = {arm.name: dict(zip(results.tasks, results.is_learnt(arm.name), strict=True)) for arm in results.arms}

    def is_evidence(row: Transfer) -> bool:
        against = getattr(row, "against", results.reference)
        return row.verdict not in (HELPED, HURT) or learnt[row.arm][row.task] or learnt[against][row.task]

    return [row if is_evidence(row) else row._replace(verdict=NO_EVIDENCE) for row in rows]
