"""Environments on tf-agents' interface in which no step is wasted on a reset."""

import abc

import tensorflow as tf

from mtq.interfaces import StepType, TFEnvironment, TimeStep


class AutoresetEnvironment(TFEnvironment, abc.ABC):
    """A `TFEnvironment` of N copies in which an episode that ends is followed by the next within the same step.

    tf-agents' own environments answer the step after a LAST with a FIRST, and ignore its action. With N copies the
    number of transitions in a step then varies. Here every step is N transitions.
    """

    @abc.abstractmethod
    def reseed(self, seed: int) -> None:
        """Draws all random numbers from another seed, from the next `reset` on.

        Args:
            seed: As the constructor takes it.
        """

    def state(self) -> list[tf.Variable]:
        """What the next step depends on; nothing where that is not in tensors."""
        return []

    def restart(self) -> TimeStep:
        """Begins a new episode in every copy, with the random numbers that come next."""
        return self.reset()

    @abc.abstractmethod
    def step_and_restart(self, action: tf.Tensor) -> tuple[TimeStep, TimeStep]:
        """Takes one action in each copy.

        Args:
            action: `[N]` int32.

        Returns:
            The time step that came of it, LAST where an episode ended; and the one to act on next, FIRST there.
        """

    def _step(self, action: tf.Tensor) -> TimeStep:
        return self.step_and_restart(action)[0]

    def _current_time_step(self) -> TimeStep:
        raise NotImplementedError(
            "The current time step is what reset and step_and_restart return: hold on to it, as mtq.driver does."
        )

    def ended_and_current(
        self,
        is_last: tf.Tensor,
        reward: tf.Tensor,
        discount: tf.Tensor,
        next_observation: tf.Tensor,
        observation: tf.Tensor,
    ) -> tuple[TimeStep, TimeStep]:
        """The two time steps of `step_and_restart`, of what came of an action and of what is acted on next."""
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
