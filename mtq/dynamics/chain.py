"""A chain whose action values are known in closed form."""

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics


class Chain(Dynamics):
    """States 0 … length − 1, observed one-hot. Action 1 moves on, 0 waits; past the end: reward 1 and the end.

    With discount γ, moving on from state s is worth `γ^(length − 1 − s)`, waiting first γ times that.

    Args:
        length: How many states there are.
        max_episode_steps: Episodes are truncated after so many steps.
    """

    num_actions = 2

    def __init__(self, length: int = 4, max_episode_steps: int | None = 100) -> None:
        super().__init__(max_episode_steps)
        self.length = length
        self.observation_shape = (length,)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """State 0."""
        return tf.zeros_like(random)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Moves on or waits."""
        state = state + tf.cast(action, tf.float32)[:, None]
        terminated = state[:, 0] >= self.length
        return tf.minimum(state, self.length - 1.0), tf.cast(terminated, tf.float32), terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """One-hot, `[N, length]`."""
        return tf.one_hot(tf.cast(state[:, 0], tf.int32), self.length)
