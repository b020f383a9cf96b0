"""Sticky actions: the previous action is sometimes repeated in place of the chosen one."""

import tensorflow as tf

from mtq.checks import real
from mtq.dynamics.dynamics import Dynamics, DynamicsWrapper


class Sticky(DynamicsWrapper):
    """Dynamics in which, with some probability, the previous action is repeated in place of the chosen one.

    The action that was taken becomes the previous action. At the start of an episode the previous action is 0.

    Args:
        dynamics: The dynamics without sticky actions.
        probability: The probability of repeating the previous action.

    Example:
        >>> import mtq
        >>> task = mtq.Task("breakout", lambda: Sticky(mtq.dynamics.minatar.Breakout(), 0.1))
        >>> task.spec.observation_shape
        (10, 10, 4)

    Reference: Machado et al., "Revisiting the Arcade Learning Environment", JAIR 2018, section 5.
    """

    def __init__(self, dynamics: Dynamics, probability: float) -> None:
        super().__init__(dynamics)
        self.probability = real("probability of Sticky", probability, least=0, most=1)
        self.num_random = dynamics.num_random + 1

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns the state at the start of an episode, in which the previous action is 0."""
        state = self.dynamics.initial_state(random[:, 1:])
        return tf.concat([state, tf.zeros_like(state[:, :1])], axis=1)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes the chosen or the previous action."""
        previous = tf.cast(state[:, -1], tf.int32)
        repeats = random[:, 0] < self.probability
        if self.has_action_mask:
            repeats &= tf.gather(self.action_mask(state), previous, batch_dims=1)
        action = tf.where(repeats, previous, action)
        reached, reward, terminated = self.dynamics.step(state[:, :-1], action, random[:, 1:])
        return tf.concat([reached, tf.cast(action, tf.float32)[:, None]], axis=1), reward, terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the observations of the dynamics, which do not show the previous action."""
        return self.dynamics.observe(state[:, :-1])

    def action_mask(self, state: tf.Tensor) -> tf.Tensor | None:
        """Returns which actions are legal. A previous action that is illegal now is not repeated."""
        return self.dynamics.action_mask(state[:, :-1])
