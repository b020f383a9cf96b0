"""Counting what one task's copies do while they are trained on."""

import tensorflow as tf

from mtq.experience.replay import Memory


class CollectionStatistics(tf.Module):
    """Counts steps and adds up the returns of finished episodes.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        super().__init__()
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._num_envs = num_envs
        self._running = tf.Variable(tf.zeros([num_envs]), trainable=False)  # undiscounted return of open episodes
        self._finished = tf.Variable(tf.zeros([2]), trainable=False)  # their number, and the sum of their returns

    def __call__(self, memory: Memory) -> tf.Tensor:
        """Takes note of one step of all copies."""
        returns = self._running + memory.reward
        ended = tf.cast(memory.is_last, tf.float32)
        self._finished.assign_add(tf.stack([tf.reduce_sum(ended), tf.reduce_sum(ended * returns)]))
        self._running.assign(tf.where(memory.is_last, 0.0, returns))
        return self.steps.assign_add(self._num_envs)

    def reset(self) -> None:
        """Forgets everything."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def drop_open_episodes(self) -> None:
        """Forgets the returns of unfinished episodes."""
        self._running.assign(tf.zeros_like(self._running))

    def take_finished(self) -> tuple[float, float]:
        """How many episodes finished since the last call, and the sum of their returns."""
        number, total = self._finished.numpy().tolist()
        self._finished.assign(tf.zeros([2]))
        return number, total
