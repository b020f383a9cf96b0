"""In-graph environments with tf-agents' interface, and as copies that are stepped from Python."""

from typing import Any

import numpy as np
import tensorflow as tf

from mtq.dynamics.checked import CheckedDynamics
from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.copies import Observations, Step, VectorEnvironment
from mtq.environments.masks import check_legal, no_legal_action
from mtq.environments.ranges import ObservationRange
from mtq.environments.specs import action_spec, observation_spec
from mtq.interfaces import TimeStep, restart, time_step_spec
from mtq.random_numbers import make_generator, reseed, uniform
from mtq.tasks.action_masks import split_observation
from mtq.tasks.task import Task


class InGraphEnvironment(AutoresetEnvironment):
    """N copies of a task's dynamics, as one `TFEnvironment` with all state in variables and one random generator.

    Args:
        task: The task. Its environment must be a `Dynamics`.
        num_envs: The number of copies N.
        seed: The seed of the random numbers.
    """

    def __init__(self, task: Task, num_envs: int, seed: int) -> None:
        super().__init__(time_step_spec(observation_spec(task)), action_spec(task), batch_size=num_envs)
        has_masks = task.spec.has_action_mask
        self._dynamics = CheckedDynamics(task.name, task.make_environment(), task.frame_stack, has_masks)
        self.task_name, self._is_stuck = task.name, tf.Variable(False, trainable=False) if has_masks else None
        self._random = make_generator(seed)
        state = self._dynamics.initial_state(tf.zeros([num_envs, self._dynamics.num_random]))
        if tf.executing_eagerly():
            ObservationRange(task.name, task.spec, None).check(self._dynamics.observe(state).numpy())
        self._state = tf.Variable(tf.zeros_like(state), trainable=False)
        self._steps = tf.Variable(tf.zeros([num_envs], tf.int32), trainable=False)  # of the current episodes

    def reseed(self, seed: int) -> None:
        """Sets the seed of the random numbers. Call `reset` afterwards."""
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Returns the variables of the copies' states and episode lengths, and of the random generator's state."""
        return [self._state, self._steps, self._random.state]

    def check_masks(self) -> None:
        """Raises a ValueError if no action was legal in a state that must be acted on. For use outside graphs."""
        if self._is_stuck is not None and bool(self._is_stuck):
            self._is_stuck.assign(False)
            raise no_legal_action(self.task_name)

    def _reset(self) -> TimeStep:
        self._state.assign(self._dynamics.initial_state(self._draw(1)[0]))
        self._steps.assign(tf.zeros_like(self._steps))
        first = self._dynamics.acted_on(self._state.read_value())
        self._record_if_stuck(first)
        return restart(first, batch_size=self.batch_size)

    def step_and_restart(self, action: tf.Tensor) -> tuple[TimeStep, TimeStep]:
        """Takes one action in each copy.

        Args:
            action: The actions, `[N]` int32.

        Returns:
            The time step that the action led to, and the time step to act on next.
        """
        step_random, restart_random = tf.unstack(self._draw(2))
        reached, reward, terminated = self._dynamics.step(self._state.read_value(), action, step_random)
        steps = self._steps + 1
        limit = self._dynamics.max_episode_steps
        is_last = terminated if limit is None else terminated | (steps >= limit)
        current = tf.where(is_last[:, None], self._dynamics.initial_state(restart_random), reached)
        self._state.assign(current)
        self._steps.assign(tf.where(is_last, 0, steps))
        discount = tf.where(terminated, 0.0, 1.0)
        next_observation, observation = self._dynamics.acted_on(reached), self._dynamics.acted_on(current)
        self._record_if_stuck(next_observation, ~terminated)
        self._record_if_stuck(observation)
        return self.ended_and_current(is_last, reward, discount, next_observation, observation)

    def _record_if_stuck(self, observation: Any, is_acted_on: tf.Tensor | bool = True) -> None:
        """Records that no action is legal in a state, because a graph that XLA compiles cannot raise an error."""
        if self._is_stuck is not None:
            is_stuck = tf.reduce_any(~tf.reduce_any(split_observation(observation)[1], axis=1) & is_acted_on)
            self._is_stuck.assign(self._is_stuck | is_stuck)

    def _draw(self, sets: int) -> tf.Tensor:
        return uniform(self._random, [sets, self.batch_size, self._dynamics.num_random])


class InGraphCopies(VectorEnvironment):
    """N copies of a task's dynamics that are stepped from Python, with the interface of `EnvironmentCopies`.

    Evaluation uses them for in-graph tasks, and `EnvironmentCopies` for all others.

    Args:
        task: The task. Its environment must be a `Dynamics`.
        num_copies: The number of copies N.
        seed: The seed of the random numbers.
        compiled: Whether XLA compiles the step. Compiling takes longer than a few steps without it.
    """

    def __init__(self, task: Task, num_copies: int, seed: int, compiled: bool = True) -> None:
        self._environment = InGraphEnvironment(task, num_copies, seed)
        self._range = ObservationRange(task.name, task.spec, None)
        self._name, self._legal = task.name, np.zeros((0, task.num_actions), np.bool_)
        step = self._environment.step_and_restart
        self._step = tf.function(step, autograph=False, jit_compile=True) if compiled else step

    def reset(self) -> Observations:
        """Starts an episode in every copy. Returns the observations, `[N, ...]`."""
        return self._checked(self._environment.reset().observation)

    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy.

        Args:
            actions: The actions, `[N]` int.
            only: Ignored. All copies are stepped, because that costs no more than stepping some of them.

        Returns:
            The result of the actions in all copies.
        """
        if len(self._legal):
            check_legal(self._name, self._legal, actions)
        ended, current = self._step(tf.constant(actions, tf.int32))
        return Step(
            self._checked(ended.observation),
            ended.reward.numpy(),
            ended.discount.numpy(),
            ended.is_last().numpy(),
            self._checked(current.observation, has_range=False),
        )

    def reseed(self, seed: int) -> None:
        """Sets the seed of the random numbers at the next `reset`."""
        self._environment.reseed(seed)

    def restart(self) -> Observations:
        """Starts another episode in every copy. Returns the observations, `[N, ...]`."""
        return self.reset()

    def _checked(self, acted_on: Any, has_range: bool = True) -> Observations:
        """Returns observations, with their masks if there are any, as arrays."""
        observation, mask = split_observation(acted_on)
        observation = observation.numpy()
        if has_range:
            self._range.check(observation)
        if mask is None:
            return observation
        self._environment.check_masks()
        self._legal = mask.numpy()
        return observation, self._legal

    def render(self) -> None:
        """Returns None, because in-graph environments render nothing."""

    def close(self) -> None:
        """Does nothing, because in-graph environments hold no resources."""
