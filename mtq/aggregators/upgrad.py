"""UPGrad: the mean of the gradients' projections that conflict with no task."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active
from mtq.aggregators.solvers import smallest_above


@keras.saving.register_keras_serializable("mtq")
class UPGrad(GramAggregator):
    """The mean of the gradients, each projected onto the cone of updates that conflict with no task.

    The projection of `g_i` is `Σ_j v_j g_j` with `v = argmin vᵀ G v` subject to `v ≥ e_i`, where G is the Gram matrix.
    The update conflicts with no task. Along each task it moves in proportion to that task's gradient.

    Reference:
        Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, section 3 and proposition 1.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the means of the projections' coefficients, in terms of unit vectors."""
        projections = smallest_above(cosines, tf.linalg.diag(tf.where(active, norms, 0.0)))  # [T, T]
        # The rows of inactive tasks hold only rounding errors.
        projections = tf.where(active[:, None], projections, 0.0)
        return tf.reduce_sum(projections, axis=0) / (num_active(active) * norms)
