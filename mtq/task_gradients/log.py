"""A log of gradient statistics during training."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mtq.task_gradients import TaskGradients


class GradientSnapshot(NamedTuple):
    """The statistics of the tasks' gradients at one update.

    Attributes:
        update: The number of the update, from 0.
        cosines: The cosines between the gradients over the shared variables, `[T, T]` float32.
        norms: The norms of the gradients over all variables, `[T]` float32.
        weights: The tasks' weights, `[T]` float32.
    """

    update: int
    cosines: np.ndarray
    norms: np.ndarray
    weights: np.ndarray

    @property
    def in_conflict(self) -> bool:
        """Whether the gradients of any two tasks conflict, that is, have a negative cosine."""
        return bool((self.cosines < 0).any())


class GradientLog:
    """Samples gradient statistics every `every` updates into a ring buffer, within the graph.

    Args:
        num_tasks: The number of tasks, T.
        every: The number of updates from one sample to the next.
        capacity: The number of samples that the buffer holds; later samples overwrite the earliest.
    """

    def __init__(self, num_tasks: int, every: int, capacity: int) -> None:
        self.every, self.capacity, self._num_tasks = every, capacity, num_tasks
        self._rows = tf.Variable(tf.zeros([capacity, num_tasks**2 + 2 * num_tasks]), trainable=False)
        self._updates = tf.Variable(tf.zeros([capacity], tf.int64), trainable=False)
        self._num_samples = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._fetched = 0

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the buffer: the samples, the numbers of their updates, and the number of samples so far."""
        return [self._rows, self._updates, self._num_samples]

    def look(self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor) -> None:
        """Samples the statistics of an update if one is due. For use in a graph.

        Args:
            gradients: The tasks' gradients.
            weights: The tasks' weights, `[T]` float32.
            updates: The number of updates so far, an int64 scalar.
        """

        def sample() -> tf.Tensor:
            cosines = tf.reshape(gradients.cosines("shared"), [-1])
            row = tf.concat([cosines, gradients.norms(), weights], axis=0)
            slot = tf.cast(self._num_samples % self.capacity, tf.int32)
            self._rows.scatter_nd_update([[slot]], row[None])
            self._updates.scatter_nd_update([[slot]], updates[None])
            self._num_samples.assign_add(1)
            return tf.constant(True)

        tf.cond(updates % self.every == 0, sample, lambda: tf.constant(False))

    def fetch(self) -> list[GradientSnapshot]:
        """Returns the samples since the last call that the buffer still holds, in the order of their updates."""
        num_samples = int(self._num_samples)
        new = range(max(self._fetched, num_samples - self.capacity), num_samples)
        self._fetched = num_samples
        if not new:
            return []
        rows, updates, n = self._rows.numpy(), self._updates.numpy(), self._num_tasks
        return [
            GradientSnapshot(
                int(updates[slot]), rows[slot, : n * n].reshape(n, n), rows[slot, n * n : n * n + n], rows[slot, -n:]
            )
            for slot in (sample % self.capacity for sample in new)
        ]
