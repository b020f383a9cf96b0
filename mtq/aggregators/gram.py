"""Aggregators that need only the norms of the gradients and the cosines between them."""

import abc

import tensorflow as tf

from mtq.aggregators.aggregator import LARGEST_COEFFICIENT, Aggregator
from mtq.task_gradients import TaskGradients


class GramAggregator(Aggregator):
    """The base class of aggregators whose coefficients are functions of the Gram matrix of the weighted gradients.

    The update is `Σ_i c_i w_i g_i`, with coefficients c that depend on the inner products `⟨w_i g_i, w_j g_j⟩` alone.
    By default it aggregates over the shared variables, the only ones on which tasks can be in conflict. A task is
    active if its gradient and its weight are not zero; the others are ignored. Coefficients are clipped to the range of
    float32: a gradient that would need a larger one, because it is more than 1e20 times shorter than another,
    contributes less than the method says.

    Attributes:
        needs_cosines: Whether the coefficients depend on the cosines. If not, the cosines are not computed.

    Args:
        scope: `"shared"`, or `"all"` to include the variables of single tasks in the gradients.
    """

    def __init__(self, scope: str = "shared") -> None:
        super().__init__(scope)

    needs_cosines = True

    @abc.abstractmethod
    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients c of the weighted gradients.

        Args:
            norms: The norms `‖w_i g_i‖`, divided by the largest of them, `[T]` float64; 1 for an inactive task.
            cosines: The cosines between the gradients, `[T, T]` float64, with ones on the diagonal. Off the diagonal
                they are 0 for an inactive task.
            active: The mask of the active tasks, whose gradient and weight are not zero, `[T]` bool.
            updates: The number of updates so far, an int64 scalar.

        Returns:
            The coefficients, `[T]` float64. Those of inactive tasks may be any finite numbers.
        """

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Returns the update `Σ_i c_i w_i g_i`."""
        # Cosines first, because the norms are then taken from the same Gram matrix.
        identity = tf.eye(gradients.num_tasks, dtype=tf.float64)
        cosines = tf.cast(gradients.cosines(self.scope), tf.float64) if self.needs_cosines else identity
        norms = tf.cast(weights, tf.float64) * tf.cast(gradients.norms(self.scope), tf.float64)
        active = norms > 0
        pairs = active[:, None] & active[None, :]
        cosines = tf.linalg.set_diag(tf.where(pairs, tf.clip_by_value(cosines, -1.0, 1.0), 0.0), tf.ones_like(norms))
        largest = tf.reduce_max(norms)
        norms = tf.where(active, norms / tf.where(largest > 0, largest, 1.0), 1.0)
        c = self.coefficients(norms, cosines, active, tf.cast(updates, tf.int64))
        c = tf.cast(weights, tf.float64) * tf.where(active, c, 0.0)
        c = tf.cast(tf.clip_by_value(c, -LARGEST_COEFFICIENT, LARGEST_COEFFICIENT), tf.float32)
        return gradients.combine(c, private_coefficients=weights if self.scope == "shared" else None)


def num_active(active: tf.Tensor) -> tf.Tensor:
    """Returns the number of active tasks, at least 1.

    Args:
        active: The mask of the active tasks, `[T]` bool.

    Returns:
        A float64 scalar.
    """
    return tf.maximum(tf.reduce_sum(tf.cast(active, tf.float64)), 1.0)
