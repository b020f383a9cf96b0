"""Statistics of a few runs: means with intervals, robust aggregates, and tests."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CONFIDENCE, SIGNIFICANCE = 0.95, 0.05
RESAMPLES, _BOOTSTRAPS = 9_999, 2_000


class Interval(NamedTuple):
    """An estimate with its 95 % interval.

    Attributes:
        value: The estimate.
        low: The lower end of the interval; None if there is only one run.
        high: The upper end of the interval; None if there is only one run.
    """

    value: float
    low: float | None
    high: float | None


def mean_interval(values: np.ndarray) -> list[Interval]:
    """Computes means over runs and their 95 % intervals by Student's t.

    Args:
        values: The values of R runs, `[R, K]`.

    Returns:
        K intervals; their ends are None if there is only one run.
    """
    from scipy import stats

    runs, means = len(values), np.mean(values, axis=0)
    if runs < 2:
        return [Interval(float(mean), None, None) for mean in means]
    half = stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1) * np.std(values, axis=0, ddof=1) / np.sqrt(runs)
    return [Interval(float(m), float(m - h), float(m + h)) for m, h in zip(means, half, strict=True)]


def interquartile_mean(values: np.ndarray, seed: int = 0) -> Interval:
    """Computes the mean of the middle half of all normalized scores, with a 95 % interval by stratified bootstrap.

    Args:
        values: The normalized scores, `[R, T]`.
        seed: The seed of the bootstrap.

    Reference:
        Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, section 4.
    """
    from rliable import metrics

    def aggregate(scores: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(scores)])

    if len(values) < 2:
        return Interval(float(aggregate(values)[0]), None, None)
    points, (low, high) = _bootstrapped(values, aggregate, seed)
    return Interval(float(points[0]), float(low[0]), float(high[0]))


def performance_profile(values: np.ndarray, thresholds: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Computes the fraction of scores above each threshold, with 95 % bands by stratified bootstrap.

    Args:
        values: The normalized scores, `[R, T]`.
        thresholds: The thresholds, `[K]`.
        seed: The seed of the bootstrap.

    Returns:
        The fractions, `[K]`, and the ends of the bands, `[2, K]`, which are NaN if there is only one run.

    Reference:
        Agarwal et al., NeurIPS 2021, equation 2.
    """

    def profile(scores: np.ndarray) -> np.ndarray:
        return np.mean(scores[..., None] > thresholds, axis=(0, 1))

    if len(values) < 2:
        return profile(values), np.full([2, len(thresholds)], np.nan)
    return _bootstrapped(values, profile, seed)


def _bootstrapped(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the statistic, `[K]`, and the ends of its intervals by stratified bootstrap, `[2, K]`."""
    from rliable import library

    before = np.random.get_state()
    np.random.seed(seed)
    try:
        points, intervals = library.get_interval_estimates({"arm": values}, statistic, reps=_BOOTSTRAPS)
    finally:
        np.random.set_state(before)
    return points["arm"], intervals["arm"]


TEST = "two-sided Welch's t-test, never below the permutation test of its t"


def permutation_p_value(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Computes the p-value of a difference between two arms: the larger of two two-sided tests based on Welch's t.

    Each test compensates for a weakness of the other. The permutation test is exact for arms of equal distribution, of
    any kind, even with two runs each; it is too liberal if the smaller arm has the larger spread. Welch's t-test allows
    for unequal spreads, but relies on nearly normal means. With up to 9,999 partitions the permutation
    test is exhaustive; with more it draws 9,999 at random.

    Args:
        first: The scores of one arm, `[R₁]`, at least two runs.
        second: The scores of the other arm, `[R₂]`, at least two runs.
        seed: The seed of the partitions that are drawn.

    Returns:
        The p-value, from 0 to 1.

    Reference:
        Welch, "The generalization of 'Student's' problem when several different population variances are involved",
        Biometrika 1947. Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized
        Behrens-Fisher problem", Statistics & Probability Letters 1997.
    """
    from scipy import stats

    scale = np.ptp(np.concatenate([first, second]))
    if scale == 0:
        return 1.0
    smallest = (1e-9 * scale) ** 2 / 2  # the smallest squared standard error, for arms whose runs all agree

    def squared_error(runs: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.var(runs, axis=axis, ddof=1) / runs.shape[axis] + smallest

    def welch(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return (np.mean(a, axis=axis) - np.mean(b, axis=axis)) / np.sqrt(
            squared_error(a, axis) + squared_error(b, axis)
        )

    a, b = squared_error(first), squared_error(second)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    by_t = 2 * stats.t.sf(abs(welch(first, second)), freedom)
    by_permutations = stats.permutation_test(
        (first, second), welch, vectorized=True, n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return float(max(by_t, by_permutations.pvalue))


def corrected(p_values: np.ndarray) -> np.ndarray:
    """Corrects the p-values of several tests by Holm's method.

    The probability of any false positive among the tests is then at most that of a single test.

    Args:
        p_values: The p-values, of any shape; NaN where no test was made.

    Returns:
        The corrected p-values, of the same shape.

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    from statsmodels.stats.multitest import multipletests

    raised = np.array(p_values, float)
    tested = ~np.isnan(raised)
    if tested.any():
        raised[tested] = multipletests(raised[tested], method="holm")[1]
    return raised
