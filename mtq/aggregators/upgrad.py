"""Unconflicting projections of gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active
from mtq.aggregators.solvers import smallest_above


@keras.saving.register_keras_serializable("mtq")
class UPGrad(GramAggregator):
    """The mean of the gradients, each projected on the cone of updates that are in conflict with no task.

    The projection of `g_i` is `Σ_j v_j g_j` with `v = argmin vᵀ G v` for `v ≥ e_i`, G the Gram matrix. In conflict with
    no task; along each task it moves in proportion to that task's gradient.

    Reference:
        Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, section 3 and proposition 1.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """The means of the projections' coefficients, solved for unit vectors."""
        projections = smallest_above(cosines, tf.linalg.diag(tf.where(active, norms, 0.0)))  # [T, T]
        # The rows of absent tasks hold only rounding errors.
        projections = tf.where(active[:, None], projections, 0.0)
        return tf.reduce_sum(projections, axis=0) / (num_active(active) * norms)
