"""The tasks on which an arm is better than a random policy, so that its scores are meaningful."""

import math

import numpy as np

from mtq.study.analysis.statistics import CONFIDENCE


def is_learnt(epochs: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Returns on which tasks an arm's scores exceed those of a random policy by more than their noise.

    The noise is the width of the one-sided 95 % confidence bound of the mean over runs, by Student's t; for two runs,
    whose spread is poorly known, by the normal distribution. For a single run, epochs take the place of runs.

    Args:
        epochs: The scores of the last epochs, `[R, E, T]`.
        random: The scores of a random policy, `[T]`.

    Returns:
        A bool for each task, `[T]`.
    """
    from scipy import stats

    samples = epochs.mean(axis=1) if len(epochs) > 1 else epochs[0]
    excess, number = samples.mean(axis=0) - random, len(samples)
    if number == 1:
        return excess > 0
    quantile = stats.norm.ppf(CONFIDENCE) if number == 2 else stats.t.ppf(CONFIDENCE, number - 1)
    noise = quantile * samples.std(axis=0, ddof=1) / math.sqrt(number)
    smallest = 1e-9 * np.maximum(np.abs(random), np.abs(samples).max(axis=0))  # the rounding error of floats
    return excess > np.maximum(noise, smallest)
