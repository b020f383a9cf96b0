"""Gymnasium's environments on tf-agents' interface."""

import tensorflow as tf

from mtq.environments.autoreset import AutoresetEnvironment
from mtq.environments.copies import EnvironmentCopies
from mtq.environments.tf_agents_parts import action_spec, observation_spec, time_steps
from mtq.tasks import Task


class GymnasiumEnvironment(AutoresetEnvironment):
    """A task's copies of a Gymnasium (or tf-agents) environment; one crossing into Python a step.

    Args:
        task: The task; `task.num_envs` is N.
        seed: Of the copies' resets.
    """

    def __init__(self, task: Task, seed: int) -> None:
        specs = time_steps.time_step_spec(observation_spec(task))
        super().__init__(specs, action_spec(task), batch_size=task.num_envs)
        self._copies = EnvironmentCopies(task, task.num_envs, seed)
        self._spec = task.spec

    def _reset(self) -> time_steps.TimeStep:
        observation = tf.numpy_function(self._copies.reset, [], self._spec.observation_dtype)
        return time_steps.restart(self._shaped(observation), batch_size=self.batch_size)

    def step_and_restart(self, action: tf.Tensor) -> tuple[time_steps.TimeStep, time_steps.TimeStep]:
        """Takes one action in each copy."""
        image = self._spec.observation_dtype
        next_observation, reward, discount, is_last, observation = tf.numpy_function(
            self._copies.step, [action], [image, tf.float32, tf.float32, tf.bool, image]
        )
        for vector in (reward, discount, is_last):
            vector.set_shape([self.batch_size])
        return self._ended_and_current(
            is_last, reward, discount, self._shaped(next_observation), self._shaped(observation)
        )

    def _shaped(self, observation: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(observation, [self.batch_size, *self._spec.observation_shape])
