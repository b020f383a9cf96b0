"""DualProj: the mean gradient, projected so that it conflicts with no task."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active
from mtq.aggregators.solvers import smallest_above


@keras.saving.register_keras_serializable("mtq")
class DualProj(GramAggregator):
    """The mean gradient, projected onto the cone of updates that conflict with no task.

    The update is `Σ_i v_i g_i` with `v = argmin vᵀ G v` subject to `v ≥ 1/T`, where G is the Gram matrix.

    Reference:
        Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, equation 11; the name
        is that of Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients of the projection, in terms of unit vectors."""
        mean = tf.where(active, norms, 0.0) / num_active(active)
        return smallest_above(cosines, mean) / norms
