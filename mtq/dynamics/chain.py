"""A chain whose action values are known in closed form."""

import tensorflow as tf

from mtq.dynamics.dynamics import Dynamics


class Chain(Dynamics):
    """A chain of states `0 … length − 1`, observed as one-hot vectors.

    Action 1 advances by one state, action 0 stays. Advancing from the last state gives reward 1 and ends the episode.
    With discount γ, the optimal value of advancing from state s is `γ^(length − 1 − s)`; that of staying is γ times it.

    Args:
        length: The number of states.
        max_episode_steps: The number of steps after which an episode is truncated; None for no limit.
    """

    num_actions = 2

    def __init__(self, length: int = 4, max_episode_steps: int | None = 100) -> None:
        super().__init__(max_episode_steps)
        self.length = length
        self.observation_shape = (length,)

    def initial_state(self, random: tf.Tensor) -> tf.Tensor:
        """Returns state 0."""
        return tf.zeros_like(random)

    def step(self, state: tf.Tensor, action: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Advances by one state (action 1) or stays (action 0)."""
        state = state + tf.cast(action, tf.float32)[:, None]
        terminated = state[:, 0] >= self.length
        return tf.minimum(state, self.length - 1.0), tf.cast(terminated, tf.float32), terminated

    def observe(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the state as a one-hot vector, `[N, length]`."""
        return tf.one_hot(tf.cast(state[:, 0], tf.int32), self.length)
