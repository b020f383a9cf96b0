"""What is seen of the tasks' gradients while they are learnt from."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mtq.task_gradients import TaskGradients


class GradientSnapshot(NamedTuple):
    """The tasks' gradients at one update.

    Attributes:
        update: Its number, from 0.
        cosines: Between the gradients over the shared variables, `[T, T]`.
        norms: Of the gradients over all variables, `[T]`.
        weights: The tasks' weights, `[T]`.
    """

    update: int
    cosines: np.ndarray
    norms: np.ndarray
    weights: np.ndarray

    @property
    def in_conflict(self) -> bool:
        """Whether any two tasks' gradients point away from each other."""
        return bool((self.cosines < 0).any())


class GradientLog:
    """Looks at the gradients of one update in so many, within the graph, and keeps what it sees until it is fetched.

    Args:
        num_tasks: T.
        every: Updates from one look to the next.
        capacity: How many looks are kept; later ones take the place of the earliest.
    """

    def __init__(self, num_tasks: int, every: int, capacity: int) -> None:
        self.every, self.capacity, self._num_tasks = every, capacity, num_tasks
        self._rows = tf.Variable(tf.zeros([capacity, num_tasks**2 + 2 * num_tasks]), trainable=False)
        self._updates = tf.Variable(tf.zeros([capacity], tf.int64), trainable=False)
        self._looks = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._fetched = 0

    @property
    def variables(self) -> list[tf.Variable]:
        """What was seen, and how much."""
        return [self._rows, self._updates, self._looks]

    def look(self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor) -> None:
        """Takes note of an update if it is time to. For use in a graph."""

        def note() -> tf.Tensor:
            cosines = tf.reshape(gradients.cosines("shared"), [-1])
            row = tf.concat([cosines, gradients.norms(), weights], axis=0)
            slot = tf.cast(self._looks % self.capacity, tf.int32)
            self._rows.scatter_nd_update([[slot]], row[None])
            self._updates.scatter_nd_update([[slot]], updates[None])
            self._looks.assign_add(1)
            return tf.constant(True)

        tf.cond(updates % self.every == 0, note, lambda: tf.constant(False))

    def fetch(self) -> list[GradientSnapshot]:
        """What was seen since the last call."""
        looks = int(self._looks)
        new = range(max(self._fetched, looks - self.capacity), looks)
        self._fetched = looks
        if not new:
            return []
        rows, updates, n = self._rows.numpy(), self._updates.numpy(), self._num_tasks
        return [
            GradientSnapshot(
                int(updates[slot]), rows[slot, : n * n].reshape(n, n), rows[slot, n * n : n * n + n], rows[slot, -n:]
            )
            for slot in (look % self.capacity for look in new)
        ]
