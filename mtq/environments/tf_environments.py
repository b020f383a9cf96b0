"""Tasks' environments on tf-agents' interface, batched, for use inside a graph."""

import abc

import tensorflow as tf

from mtq.environments.copies import EnvironmentCopies
from mtq.environments.tf_agents_parts import action_spec, observation_spec, tf_environment, time_steps
from mtq.tasks import Task


class AutoresetEnvironment(tf_environment.TFEnvironment, abc.ABC):
    """A `TFEnvironment` of N copies in which an episode that ends is followed by the next within the same step.

    tf-agents' own environments answer the step after a LAST with a FIRST, and ignore its action. With N copies the
    number of transitions in a step then varies. Here every step is N transitions.
    """

    @abc.abstractmethod
    def step_and_restart(self, action: tf.Tensor) -> tuple[time_steps.TimeStep, time_steps.TimeStep]:
        """Takes one action in each copy.

        Args:
            action: `[N]` int32.

        Returns:
            The time step that came of it, LAST where an episode ended; and the one to act on next, FIRST there.
        """


class GymnasiumEnvironment(AutoresetEnvironment):
    """A task's copies of a Gymnasium (or tf-agents Python) environment; one crossing into Python a step.

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

    def _current_time_step(self) -> time_steps.TimeStep:
        raise NotImplementedError(
            "The current time step is what reset and step_and_restart return: hold on to it, as mtq.driver does."
        )

    def _step(self, action: tf.Tensor) -> time_steps.TimeStep:
        return self.step_and_restart(action)[0]

    def step_and_restart(self, action: tf.Tensor) -> tuple[time_steps.TimeStep, time_steps.TimeStep]:
        """Takes one action in each copy."""
        image = self._spec.observation_dtype
        next_observation, reward, discount, is_last, observation = tf.numpy_function(
            self._copies.step, [action], [image, tf.float32, tf.float32, tf.bool, image]
        )
        for vector in (reward, discount, is_last):
            vector.set_shape([self.batch_size])
        first, mid, last = (
            tf.fill([self.batch_size], int(kind))
            for kind in (time_steps.StepType.FIRST, time_steps.StepType.MID, time_steps.StepType.LAST)
        )
        ended = time_steps.TimeStep(tf.where(is_last, last, mid), reward, discount, self._shaped(next_observation))
        current = time_steps.TimeStep(
            tf.where(is_last, first, mid),
            tf.where(is_last, 0.0, reward),
            tf.where(is_last, 1.0, discount),
            self._shaped(observation),
        )
        return ended, current

    def _shaped(self, observation: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(observation, [self.batch_size, *self._spec.observation_shape])
