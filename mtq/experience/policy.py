"""The ε-greedy policy, with tf-agents' interface."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.environments.specs import action_spec, observation_spec
from mtq.experience.exploration import EpsilonGreedy
from mtq.interfaces import PolicyStep, TFPolicy, TimeStep, time_step_spec
from mtq.random_numbers import make_generator, reseed, uniform
from mtq.tasks import Task
from mtq.tasks.action_masks import split_observation

_LONGEST_REPEAT = 10_000


class EpsilonGreedyPolicy(TFPolicy):
    """Selects the action with the largest value or a random one, for all copies of one task's environment.

    Args:
        task: The task.
        network: The function that computes the action values, `observation [N, …]` → `q_values [N, A]`.
        exploration: The probability of random actions, and for how many steps they are repeated.
        step: A function without arguments that returns the number of environment steps since the warm-up, an integer
            scalar.
        seed: The seed of the random numbers.

    Attributes:
        task: The task.
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
        # `EpsilonGreedy` checks the schedule at a few steps only. Here the latest value outside [0, 1] is recorded.
        is_watched = callable(exploration.epsilon) and not _stays_between_its_ends(exploration.epsilon)
        self._wrong = tf.Variable(0.0, trainable=False) if is_watched else None
        self.task = task
        if exploration.repeat_exponent is not None:
            self._repeats = tf.Variable(tf.zeros([task.num_envs], tf.int32), trainable=False)  # steps left
            self._repeated = tf.Variable(tf.zeros([task.num_envs], tf.int32), trainable=False)  # the action
            weights = np.arange(1, _LONGEST_REPEAT + 1, dtype=np.float64) ** -exploration.repeat_exponent
            self._duration_cdf = tf.constant(np.cumsum(weights / weights.sum()), tf.float32)

    def reset(self, seed: int) -> None:
        """Sets the seed of the random numbers, and stops repeating actions."""
        reseed(self._random, seed)
        if self._exploration.repeat_exponent is not None:
            self._repeats.assign(tf.zeros_like(self._repeats))
            self._repeated.assign(tf.zeros_like(self._repeated))

    def check_schedule(self) -> None:
        """Raises a ValueError if the schedule has returned an ε outside `[0, 1]`. For use outside graphs."""
        if self._wrong is not None and self._wrong.numpy() != 0:
            raise ValueError(
                f"exploration of task '{self.task.name}' must stay a probability, from 0 to 1. Received: "
                f"{self._wrong.numpy():g} from {type(self._exploration.epsilon).__name__}. Fix the schedule."
            )

    def state(self) -> list[tf.Variable]:
        """Returns the variables for checkpoints: the state of the random generator, and the actions being repeated."""
        has_repeats = self._exploration.repeat_exponent is not None
        return [self._random.state, *([self._repeats, self._repeated] if has_repeats else [])]

    def _variables(self) -> list[tf.Variable]:
        return []

    def select(self, q_values: tf.Tensor, is_first: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Selects actions by action values that have been computed already.

        Args:
            q_values: The action values, `[N, A]` float32.
            is_first: Whether an episode starts, `[N]` bool.
            mask: Whether each action is legal, `[N, A]` bool; None if all are.

        Returns:
            The actions, `[N]` int32.
        """
        greedy = vl.greedy_actions(q_values, mask)
        draws = tf.unstack(uniform(self._random, [self._num_draws, self._num_envs]))
        epsilon = self._exploration.at(self._step())
        if self._wrong is not None:
            self._wrong.assign(tf.where((epsilon >= 0) & (epsilon <= 1), self._wrong, epsilon))
        explore = draws[0] < epsilon
        random_action = vl.random_actions(draws[1], self._num_actions, mask)
        if self._exploration.repeat_exponent is not None:
            ends = is_first if mask is None else is_first | ~tf.gather(mask, self._repeated, batch_dims=1)
            explore, random_action = self._with_repeats(explore, random_action, draws[2], ends)
        return tf.where(explore, random_action, greedy)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        observation, mask = split_observation(time_step.observation)
        return PolicyStep(self.select(self._network(observation), time_step.is_first(), mask), policy_state)

    def _with_repeats(
        self, explore: tf.Tensor, random_action: tf.Tensor, draw: tf.Tensor, ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Repeats actions, except where the repeats end: at the start of an episode, or at an illegal action."""
        is_repeating = (self._repeats > 0) & ~ends
        duration = tf.minimum(tf.searchsorted(self._duration_cdf, draw) + 1, _LONGEST_REPEAT)
        action = tf.where(is_repeating, self._repeated, random_action)
        remaining = tf.where(is_repeating, self._repeats - 1, tf.where(explore, duration - 1, 0))
        self._repeated.assign(action)
        self._repeats.assign(remaining)
        return is_repeating | explore, action

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("EpsilonGreedyPolicy has no distribution over actions. Call action().")


def _stays_between_its_ends(schedule: Any) -> bool:
    """Whether all values of a schedule are between its first and its last value, which `EpsilonGreedy` checks."""
    return type(schedule) is keras.optimizers.schedules.PolynomialDecay and not schedule.cycle
