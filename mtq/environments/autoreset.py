"""The base class of environments with tf-agents' interface that reset within the step that ends an episode."""

import abc
from typing import Any

import tensorflow as tf

from mtq.interfaces import StepType, TFEnvironment, TimeStep


class AutoresetEnvironment(TFEnvironment, abc.ABC):
    """A `TFEnvironment` of N copies, each of which starts its next episode within the step that ends the previous one.

    tf-agents' own environments respond to the step after a LAST time step with a FIRST, and ignore the action of that
    step. With N copies, the number of transitions per step then varies. Here every step yields N transitions.

    Attributes:
        task_name: The name of the task, for messages.
    """

    task_name: str

    @abc.abstractmethod
    def reseed(self, seed: int) -> None:
        """Sets the seed of all random numbers, which takes effect at the next `reset`.

        Args:
            seed: The seed, as the constructor takes it.
        """

    def state(self) -> list[tf.Variable]:
        """Returns the variables that determine the next step; an empty list if the state is not held in tensors."""
        return []

    def restart(self) -> TimeStep:
        """Starts a new episode in every copy, without setting the seed again.

        Returns:
            The FIRST time step of each episode.
        """
        return self.reset()

    @abc.abstractmethod
    def step_and_restart(self, action: tf.Tensor) -> tuple[TimeStep, TimeStep]:
        """Takes one action in each copy.

        Args:
            action: The actions, `[N]` int32.

        Returns:
            The time step that the action led to, LAST in copies whose episode ended; and the time step to act on next,
            FIRST in those copies.
        """

    def check_masks(self) -> None:
        """Raises a ValueError if no action was legal in a state that must be acted on. For use outside graphs."""

    def _step(self, action: tf.Tensor) -> TimeStep:
        return self.step_and_restart(action)[0]

    def _current_time_step(self) -> TimeStep:
        raise NotImplementedError(
            "AutoresetEnvironment does not store the current time step. Keep the time step that reset or "
            "step_and_restart returned."
        )

    def ended_and_current(
        self,
        is_last: tf.Tensor,
        reward: tf.Tensor,
        discount: tf.Tensor,
        next_observation: Any,
        observation: Any,
    ) -> tuple[TimeStep, TimeStep]:
        """Creates the two time steps that `step_and_restart` returns.

        Args:
            is_last: Whether each copy's episode ended, `[N]` bool.
            reward: The rewards, `[N]` float32.
            discount: The discounts, `[N]` float32.
            next_observation: The observations that the actions led to, `[N, ...]`; pairs with masks if the task has
                them.
            observation: The observations to act on next, `[N, ...]`: the first of a new episode where one ended;
                likewise pairs with masks.

        Returns:
            The time step that the action led to, and the time step to act on next.
        """
        first, mid, last = (
            tf.fill([self.batch_size], int(kind)) for kind in (StepType.FIRST, StepType.MID, StepType.LAST)
        )
        ended = TimeStep(tf.where(is_last, last, mid), reward, discount, next_observation)
        current = TimeStep(
            tf.where(is_last, first, mid),
            tf.where(is_last, 0.0, reward),
            tf.where(is_last, 1.0, discount),
            observation,
        )
        return ended, current
