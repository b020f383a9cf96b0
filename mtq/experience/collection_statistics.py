"""Statistics of one task's training episodes: environment steps and returns."""

import tensorflow as tf

from mtq.experience.memory import Memory


class CollectionStatistics(tf.Module):
    """Counts environment steps, and adds up the returns of finished episodes.

    Args:
        num_envs: N, the number of copies of the environment.

    Attributes:
        steps: The variable that holds the number of environment steps so far, over all copies.
    """

    def __init__(self, num_envs: int) -> None:
        super().__init__()
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._num_envs = num_envs
        self._running = tf.Variable(tf.zeros([num_envs]), trainable=False)  # undiscounted returns of the open episodes
        # The number of finished episodes, and the sum of their returns.
        self._finished = tf.Variable(tf.zeros([2]), trainable=False)

    def __call__(self, memory: Memory) -> tf.Tensor:
        """Counts one step of every copy.

        Args:
            memory: The steps, a `Memory` of `[N, …]`.

        Returns:
            The number of environment steps so far, an int64 scalar.
        """
        returns = self._running + memory.reward
        ended = tf.cast(memory.is_last, tf.float32)
        self._finished.assign_add(tf.stack([tf.reduce_sum(ended), tf.reduce_sum(ended * returns)]))
        self._running.assign(tf.where(memory.is_last, 0.0, returns))
        return self.steps.assign_add(self._num_envs)

    def reset(self) -> None:
        """Sets all counts to zero."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def drop_open_episodes(self) -> None:
        """Sets the returns of the open episodes to zero."""
        self._running.assign(tf.zeros_like(self._running))

    def take_finished(self) -> tuple[float, float]:
        """Returns the number of episodes that have finished since the last call, and the sum of their returns."""
        number, total = self._finished.numpy().tolist()
        self._finished.assign(tf.zeros([2]))
        return number, total
