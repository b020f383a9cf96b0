"""Aggregators that ask no more of the gradients than their norms and angles."""

import abc

import tensorflow as tf

from mtq.aggregators.aggregator import LARGEST_COEFFICIENT, Aggregator
from mtq.task_gradients import TaskGradients


class GramAggregator(Aggregator):
    """An aggregator whose update is `Σ_i c_i w_i g_i`, with coefficients that follow from `⟨w_i g_i, w_j g_j⟩`.

    By default it aggregates over the shared variables, the only ones on which tasks can be in conflict. A task whose
    gradient or weight is zero counts as if it were not there. Coefficients are held within the range of float32: a
    gradient that would need a larger one, being more than 1e20 times shorter than another, has a smaller share.

    Attributes:
        needs_cosines: Whether the coefficients depend on the angles; if not, they need not be computed.

    Args:
        scope: `"shared"`, or `"all"` to count the tasks' own variables to the norms of their gradients.
    """

    def __init__(self, scope: str = "shared") -> None:
        super().__init__(scope)

    needs_cosines = True

    @abc.abstractmethod
    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """The coefficients of the weighted gradients.

        Args:
            norms: `‖w_i g_i‖`, divided by the largest of them, `[T]` float64; 1 for a task that is not there.
            cosines: Between the gradients, `[T, T]` float64, with ones on the diagonal; otherwise 0 for a task that is
                not there.
            active: Which tasks have a gradient and a weight, `[T]` bool.
            updates: How many updates were made before, int64 scalar.

        Returns:
            `[T]` float64; what stands there for a task that is not there does not matter if it is finite.
        """

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Aggregates."""
        # Cosines first, for they bring the norms along.
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
    """How many tasks are there, at least 1, float64."""
    return tf.maximum(tf.reduce_sum(tf.cast(active, tf.float64)), 1.0)
