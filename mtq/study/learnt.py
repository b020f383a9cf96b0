"""On which tasks an arm is better than a random policy, so that its scores say something."""

import math

import numpy as np

from mtq.study.statistics import CONFIDENCE


def is_learnt(epochs: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Whether the scores of an arm are above a random policy's by more than their noise.

    The noise is the one-sided 95 % bound of the mean over the runs, by Student's t; by the normal distribution where
    two runs hardly show their spread. For a single run it is that of the mean over its epochs.

    Args:
        epochs: The scores of the last epochs, `[R, E, T]`.
        random: The scores of a random policy, `[T]`.

    Returns:
        For each task, `[T]` bool.
    """
    from scipy import stats

    samples = epochs.mean(axis=1) if len(epochs) > 1 else epochs[0]
    excess, number = samples.mean(axis=0) - random, len(samples)
    if number == 1:
        return excess > 0
    quantile = stats.norm.ppf(CONFIDENCE) if number == 2 else stats.t.ppf(CONFIDENCE, number - 1)
    noise = quantile * samples.std(axis=0, ddof=1) / math.sqrt(number)
    smallest = 1e-9 * np.maximum(np.abs(random), np.abs(samples).max(axis=0))  # of float's rounding
    return excess > np.maximum(noise, smallest)
