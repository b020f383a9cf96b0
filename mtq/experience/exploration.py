"""Exploration: how often a task's policy selects a random action."""

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from mtq.checks import CHECKED_STEPS, check_keras, integer, real
from mtq.tasks import TaskSet

Schedule: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


@dataclasses.dataclass(frozen=True)
class EpsilonGreedy:
    """ε-greedy exploration: a random action with probability ε, else the action with the largest value.

    Args:
        epsilon: The probability ε, or a schedule of it over the task's environment steps after the warm-up.
        repeat_exponent: The exponent of the zeta distribution `P(n) ∝ n^(−repeat_exponent)`, where n is the number of
            steps for which a random action is taken, at most until the episode ends or the action becomes illegal;
            None for a single step. Repeats find rewards that are many equal actions away, as in MountainCar. The paper
            uses 2.

    Raises:
        ValueError: ε is not a probability, or the exponent is not above 1.

    Reference:
        Dabney, Ostrovski and Barreto, "Temporally-Extended ε-Greedy Exploration", ICLR 2021, section 3.
    """

    epsilon: Schedule
    repeat_exponent: float | None = None

    def __post_init__(self) -> None:
        check_keras("exploration", self.epsilon)
        if isinstance(self.epsilon, keras.optimizers.schedules.LearningRateSchedule):
            for step in CHECKED_STEPS:
                real(
                    f"exploration at step {step}, the probability of a random action,",
                    float(self.epsilon(step)),
                    least=0,
                    most=1,
                )
        else:
            epsilon = real("exploration, the probability of a random action,", self.epsilon, least=0, most=1)
            object.__setattr__(self, "epsilon", epsilon)
        if self.repeat_exponent is not None:
            exponent = real("repeat_exponent", self.repeat_exponent, above=1)
            object.__setattr__(self, "repeat_exponent", exponent)

    def at(self, step: tf.Tensor) -> tf.Tensor:
        """Returns ε at a step, a float32 scalar.

        Args:
            step: The number of environment steps since the warm-up, an integer scalar. It is negative during the
                warm-up, where ε is 1.
        """
        epsilon = self.epsilon(step) if callable(self.epsilon) else self.epsilon
        return tf.where(step < 0, 1.0, tf.cast(epsilon, tf.float32))


Exploration: TypeAlias = Schedule | EpsilonGreedy | Mapping[str, Schedule | EpsilonGreedy] | None


def linear(
    initial: float = 1.0, final: float = 0.05, steps: int = 10_000
) -> keras.optimizers.schedules.PolynomialDecay:
    """Returns a schedule in which ε decreases linearly, and is constant afterwards.

    Args:
        initial: The value of ε at the first step after the warm-up.
        final: The value of ε from `steps` on.
        steps: The number of environment steps of one task over which ε decreases.

    Raises:
        ValueError: `initial` or `final` is not a probability, or `steps` not a positive integer.
    """
    initial, final = real("initial", initial, least=0, most=1), real("final", final, least=0, most=1)
    return keras.optimizers.schedules.PolynomialDecay(initial, integer("steps", steps), final)


def by_task(exploration: Exploration, tasks: TaskSet) -> dict[str, EpsilonGreedy]:
    """Returns the exploration of each task.

    Args:
        exploration: A probability, a schedule, an `EpsilonGreedy`, a dict of them by task, or None for `linear()`.
        tasks: The tasks.

    Raises:
        ValueError: A task has no entry, an entry has no task, or a number is not a probability.
    """
    if exploration is None:
        exploration = linear()
    given = dict(exploration) if isinstance(exploration, Mapping) else dict.fromkeys(tasks, exploration)
    if set(given) != set(tasks):
        raise ValueError(
            f"exploration must have an entry for each task and no others. Received: {sorted(given)}, for the tasks "
            f"{list(tasks)}. Pass one schedule for all tasks, or one for each."
        )
    return {name: entry if isinstance(entry, EpsilonGreedy) else EpsilonGreedy(entry) for name, entry in given.items()}
