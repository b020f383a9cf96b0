"""Exploration: ε-greedy policies on tf-agents' interface, with a schedule per task."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from mtq.environments.tf_agents_parts import action_spec, observation_spec, policy_step, tf_policy, time_steps
from mtq.tasks import Task, TaskSet

Schedule: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule
Exploration: TypeAlias = Schedule | Mapping[str, Schedule] | None


def linear(
    initial: float = 1.0, final: float = 0.05, steps: int = 10_000
) -> keras.optimizers.schedules.PolynomialDecay:
    """ε falling on a line, then constant.

    Args:
        initial: ε at the first step after the warm-up.
        final: ε from `steps` on.
        steps: In steps of the environment of one task.
    """
    return keras.optimizers.schedules.PolynomialDecay(initial, steps, final)


def by_task(exploration: Exploration, tasks: TaskSet) -> dict[str, Schedule]:
    """A schedule for each task.

    Args:
        exploration: A probability, a schedule, a dict of them by task, or None for `linear()`.
        tasks: The tasks.

    Raises:
        ValueError: A task has no schedule, or an entry no task, or a number is not a probability.
    """
    if exploration is None:
        exploration = linear()
    schedules: dict[str, Schedule] = (
        dict(exploration) if isinstance(exploration, Mapping) else dict.fromkeys(tasks, exploration)
    )
    if set(schedules) != set(tasks):
        raise ValueError(
            f"exploration must have an entry for each task and no others. Received: {sorted(schedules)}, for the tasks "
            f"{list(tasks)}. Give one schedule for all, or one for each."
        )
    for name, schedule in schedules.items():
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule) and not 0 <= schedule <= 1:
            raise ValueError(
                f"exploration of task '{name}' must be a probability from 0 to 1, or a schedule. "
                f"Received: {schedule!r}."
            )
    return schedules


class EpsilonGreedyPolicy(tf_policy.TFPolicy):
    """Takes a random action with probability ε, the best one otherwise.

    Args:
        task: The task.
        network: `observation [N, …]` → `q_values [N, A]`.
        epsilon: A function of no arguments that gives ε, a float32 scalar.
        seed: Of the random numbers.
    """

    def __init__(
        self, task: Task, network: Callable[[tf.Tensor], tf.Tensor], epsilon: Callable[[], tf.Tensor], seed: int
    ) -> None:
        super().__init__(
            time_steps.time_step_spec(observation_spec(task)), action_spec(task), automatic_state_reset=False
        )
        self._network = network
        self._epsilon = epsilon
        self._num_actions = task.num_actions
        self._random = tf.random.Generator.from_seed(seed)

    def _variables(self) -> list[tf.Variable]:
        return []

    def _action(self, time_step: time_steps.TimeStep, policy_state: Any, seed: Any = None) -> policy_step.PolicyStep:
        q_values = self._network(time_step.observation)  # [N, A]
        greedy = tf.argmax(q_values, axis=-1, output_type=tf.int32)
        explore = self._random.uniform(tf.shape(greedy)) < self._epsilon()
        anything = self._random.uniform(tf.shape(greedy), maxval=self._num_actions, dtype=tf.int32)
        return policy_step.PolicyStep(tf.where(explore, anything, greedy), policy_state)

    def _distribution(self, time_step: time_steps.TimeStep, policy_state: Any) -> policy_step.PolicyStep:
        raise NotImplementedError("EpsilonGreedyPolicy gives actions, not distributions: call action().")
