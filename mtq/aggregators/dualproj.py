"""The mean gradient without conflict."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active
from mtq.aggregators.solvers import smallest_above


@keras.saving.register_keras_serializable("mtq")
class DualProj(GramAggregator):
    """The mean gradient, projected on the cone of updates that are in conflict with no task.

    `Σ_i v_i g_i` with `v = argmin vᵀ G v` for `v ≥ 1/T`, G the Gram matrix.

    Reference:
        Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, equation 11; named so by
        Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """The projection's coefficients, solved for unit vectors."""
        mean = tf.where(active, norms, 0.0) / num_active(active)
        return smallest_above(cosines, mean) / norms
