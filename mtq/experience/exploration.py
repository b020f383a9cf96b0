"""Exploration: ε-greedy policies on tf-agents' interface, with a schedule per task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from mtq.checks import CHECKED_STEPS, check_keras, integer, real
from mtq.environments.specs import action_spec, observation_spec
from mtq.interfaces import PolicyStep, TFPolicy, TimeStep, time_step_spec
from mtq.random_numbers import make_generator, reseed, uniform
from mtq.tasks.task import Task, TaskSet

Schedule: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule
_LONGEST_REPEAT = 10_000


@dataclasses.dataclass(frozen=True)
class EpsilonGreedy:
    """Random actions with probability ε, the best one otherwise.

    Args:
        epsilon: ε: a probability, or a schedule over the steps of the task's environments after the warm-up.
        repeat_exponent: If given, a random action is taken not once but n times, n drawn from a zeta distribution
            `P(n) ∝ n^(−repeat_exponent)`, until the episode ends at the latest. It finds rewards that are many equal
            actions away, as in MountainCar. The paper uses 2.

    Raises:
        ValueError: ε is not a probability, or the exponent not above 1.

    Reference:
        Dabney, Ostrovski and Barreto, "Temporally-Extended ε-Greedy Exploration", ICLR 2021, section 3.
    """

    epsilon: Schedule
    repeat_exponent: float | None = None

    def __post_init__(self) -> None:
        check_keras("exploration", self.epsilon)
        if isinstance(self.epsilon, keras.optimizers.schedules.LearningRateSchedule):
            for step in CHECKED_STEPS:
                real(f"exploration, a probability, at step {step}", float(self.epsilon(step)), least=0, most=1)
        else:
            epsilon = real("exploration, a probability or a schedule,", self.epsilon, least=0, most=1)
            object.__setattr__(self, "epsilon", epsilon)
        if self.repeat_exponent is not None:
            exponent = real("repeat_exponent", self.repeat_exponent, above=1)
            object.__setattr__(self, "repeat_exponent", exponent)

    def at(self, step: tf.Tensor) -> tf.Tensor:
        """ε after so many steps, a float32 scalar; 1 before the warm-up's end, where the step is below 0."""
        now = self.epsilon(step) if callable(self.epsilon) else self.epsilon
        return tf.where(step < 0, 1.0, tf.cast(now, tf.float32))


Exploration: TypeAlias = Schedule | EpsilonGreedy | Mapping[str, Schedule | EpsilonGreedy] | None


def linear(
    initial: float = 1.0, final: float = 0.05, steps: int = 10_000
) -> keras.optimizers.schedules.PolynomialDecay:
    """ε falling on a line, then constant.

    Args:
        initial: ε at the first step after the warm-up.
        final: ε from `steps` on.
        steps: In steps of the environments of one task.

    Raises:
        ValueError: `initial` or `final` is not a probability, or `steps` not a positive integer.
    """
    initial, final = real("initial", initial, least=0, most=1), real("final", final, least=0, most=1)
    return keras.optimizers.schedules.PolynomialDecay(initial, integer("steps", steps), final)


def by_task(exploration: Exploration, tasks: TaskSet) -> dict[str, EpsilonGreedy]:
    """How each task is explored.

    Args:
        exploration: A probability, a schedule, an `EpsilonGreedy`, a dict of them by task, or None for `linear()`.
        tasks: The tasks.

    Raises:
        ValueError: A task has no entry, or an entry no task, or a number is not a probability.
    """
    if exploration is None:
        exploration = linear()
    given = dict(exploration) if isinstance(exploration, Mapping) else dict.fromkeys(tasks, exploration)
    if set(given) != set(tasks):
        raise ValueError(
            f"exploration must have an entry for each task and no others. Received: {sorted(given)}, for the tasks "
            f"{list(tasks)}. Give one schedule for all, or one for each."
        )
    return {name: how if isinstance(how, EpsilonGreedy) else EpsilonGreedy(how) for name, how in given.items()}


def _stays_between_its_ends(schedule: Any) -> bool:
    """Whether a schedule's values lie between its first and its last, which are checked beforehand."""
    return type(schedule) is keras.optimizers.schedules.PolynomialDecay and not schedule.cycle


class EpsilonGreedyPolicy(TFPolicy):
    """Acts in all copies of one task's environment as an `EpsilonGreedy` says.

    Args:
        task: The task.
        network: `observation [N, …]` → `q_values [N, A]`.
        exploration: How to explore.
        step: A function of no arguments that gives the steps since the warm-up, an integer scalar.
        seed: Of the random numbers.
    """

    def __init__(
        self,
        task: Task,
        network: Callable[[tf.Tensor], tf.Tensor],
        exploration: EpsilonGreedy,
        step: Callable[[], tf.Tensor],
        seed: int,
    ) -> None:
        super().__init__(time_step_spec(observation_spec(task)), action_spec(task), automatic_state_reset=False)
        self._network, self._exploration, self._step = network, exploration, step
        self._num_actions, self._num_envs = task.num_actions, task.num_envs
        self._num_draws = 2 if exploration.repeat_exponent is None else 3
        self._random = make_generator(seed)
        # The schedule was checked at a few steps only, so each value is checked, and one outside [0, 1] is recorded.
        is_watched = callable(exploration.epsilon) and not _stays_between_its_ends(exploration.epsilon)
        self._wrong = tf.Variable(0.0, trainable=False) if is_watched else None
        self._task = task
        if exploration.repeat_exponent is not None:
            self._repeats = tf.Variable(tf.zeros([task.num_envs], tf.int32), trainable=False)  # still to come
            self._repeated = tf.Variable(tf.zeros([task.num_envs], tf.int32), trainable=False)  # the action
            weights = np.arange(1, _LONGEST_REPEAT + 1, dtype=np.float64) ** -exploration.repeat_exponent
            self._duration_cdf = tf.constant(np.cumsum(weights / weights.sum()), tf.float32)

    def reset(self, seed: int) -> None:
        """Draws from another seed; no action is being repeated."""
        reseed(self._random, seed)
        if self._exploration.repeat_exponent is not None:
            self._repeats.assign(tf.zeros_like(self._repeats))
            self._repeated.assign(tf.zeros_like(self._repeated))

    def check_schedule(self) -> None:
        """Raises a ValueError if the schedule returned an ε outside `[0, 1]`. Call it outside graphs."""
        if self._wrong is not None and self._wrong.numpy() != 0:
            raise ValueError(
                f"exploration of task '{self._task.name}' must stay a probability, from 0 to 1. Received: "
                f"{self._wrong.numpy():g} from {type(self._exploration.epsilon).__name__}. Fix the schedule."
            )

    def state(self) -> list[tf.Variable]:
        """Where the random numbers are, and which action is being repeated."""
        has_repeats = self._exploration.repeat_exponent is not None
        return [self._random.state, *([self._repeats, self._repeated] if has_repeats else [])]

    def _variables(self) -> list[tf.Variable]:
        return []

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        q_values = self._network(time_step.observation)  # [N, A]
        greedy = tf.argmax(q_values, axis=-1, output_type=tf.int32)
        draws = tf.unstack(uniform(self._random, [self._num_draws, self._num_envs]))
        epsilon = self._exploration.at(self._step())
        if self._wrong is not None:
            self._wrong.assign(tf.where((epsilon >= 0) & (epsilon <= 1), self._wrong, epsilon))
        explore = draws[0] < epsilon
        anything = tf.cast(draws[1] * self._num_actions, tf.int32)
        if self._exploration.repeat_exponent is not None:
            explore, anything = self._with_repeats(explore, anything, draws[2], time_step.is_first())
        return PolicyStep(tf.where(explore, anything, greedy), policy_state)

    def _with_repeats(
        self, explore: tf.Tensor, anything: tf.Tensor, draw: tf.Tensor, is_first: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        going_on = (self._repeats > 0) & ~is_first
        duration = tf.minimum(tf.searchsorted(self._duration_cdf, draw) + 1, _LONGEST_REPEAT)
        action = tf.where(going_on, self._repeated, anything)
        left = tf.where(going_on, self._repeats - 1, tf.where(explore, duration - 1, 0))
        self._repeated.assign(action)
        self._repeats.assign(left)
        return going_on | explore, action

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("EpsilonGreedyPolicy gives actions, not distributions: call action().")
