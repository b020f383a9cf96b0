"""In-graph environments on tf-agents' interface, and as copies that Python steps."""

import numpy as np
import tensorflow as tf

from mtq.dynamics.checked import CheckedDynamics
from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.copies import Step
from mtq.environments.specs import action_spec, observation_spec
from mtq.interfaces import TimeStep, restart, time_step_spec
from mtq.random_numbers import make_generator, reseed, uniform
from mtq.tasks.task import Task


class InGraphEnvironment(AutoresetEnvironment):
    """N copies of a task's dynamics, all state in tensors, all randomness from one seed.

    Args:
        task: The task, whose environment is a `Dynamics`.
        num_envs: N.
        seed: Of the random numbers.
    """

    def __init__(self, task: Task, num_envs: int, seed: int) -> None:
        super().__init__(time_step_spec(observation_spec(task)), action_spec(task), batch_size=num_envs)
        self._dynamics = CheckedDynamics(task.name, task.make_environment())
        self._random = make_generator(seed)
        size = self._dynamics.initial_state(tf.zeros([num_envs, self._dynamics.num_random])).shape[-1]
        self._state = tf.Variable(tf.zeros([num_envs, size]), trainable=False)
        self._steps = tf.Variable(tf.zeros([num_envs], tf.int32), trainable=False)  # of the open episodes

    def reseed(self, seed: int) -> None:
        """Draws from another seed; to be followed by `reset`."""
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Of all copies, and where the random numbers are."""
        return [self._state, self._steps, self._random.state]

    def _reset(self) -> TimeStep:
        self._state.assign(self._dynamics.initial_state(self._draw(1)[0]))
        self._steps.assign(tf.zeros_like(self._steps))
        return restart(self._dynamics.observe(self._state.read_value()), batch_size=self.batch_size)

    def step_and_restart(self, action: tf.Tensor) -> tuple[TimeStep, TimeStep]:
        """Takes one action in each copy."""
        of_step, of_restart = tf.unstack(self._draw(2))
        reached, reward, terminated = self._dynamics.step(self._state.read_value(), action, of_step)
        steps = self._steps + 1
        limit = self._dynamics.max_episode_steps
        is_last = terminated if limit is None else terminated | (steps >= limit)
        current = tf.where(is_last[:, None], self._dynamics.initial_state(of_restart), reached)
        self._state.assign(current)
        self._steps.assign(tf.where(is_last, 0, steps))
        discount = tf.where(terminated, 0.0, 1.0)
        return self.ended_and_current(
            is_last, reward, discount, self._dynamics.observe(reached), self._dynamics.observe(current)
        )

    def _draw(self, sets: int) -> tf.Tensor:
        return uniform(self._random, [sets, self.batch_size, self._dynamics.num_random])


class InGraphCopies:
    """The same, stepped from Python: for evaluation, where `EnvironmentCopies` serves other environments.

    Args:
        task: The task, whose environment is a `Dynamics`.
        num_copies: N.
        seed: Of the random numbers.
        compiled: Whether XLA compiles the step, which takes longer than a few steps without it.
    """

    def __init__(self, task: Task, num_copies: int, seed: int, compiled: bool = True) -> None:
        self._environment = InGraphEnvironment(task, num_copies, seed)
        step = self._environment.step_and_restart
        self._step = tf.function(step, autograph=False, jit_compile=True) if compiled else step

    def reset(self) -> np.ndarray:
        """Begins an episode in every copy. Returns the observations, `[N, ...]`."""
        return self._environment.reset().observation.numpy()

    def step(self, actions: np.ndarray, only: np.ndarray | None = None) -> Step:
        """Takes one action in each copy; all are stepped, for that costs no more."""
        ended, current = self._step(tf.constant(actions, tf.int32))
        return Step(
            ended.observation.numpy(),
            ended.reward.numpy(),
            ended.discount.numpy(),
            ended.is_last().numpy(),
            current.observation.numpy(),
        )

    def close(self) -> None:
        """There is nothing to close."""
