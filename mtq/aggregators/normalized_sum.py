"""The weighted sum of normalized gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import LARGEST_COEFFICIENT, WeightedSum
from mtq.task_gradients import TaskGradients


@keras.saving.register_keras_serializable("mtq")
class NormalizedSum(WeightedSum):
    """The weighted sum of normalized gradients, `g_total = Σ_i w_i · g_i / ‖g_i‖₂` (equation 4 in README.md).

    The weight stands outside the norm, inside which it would cancel. A task whose gradient is exactly zero contributes
    zero. With `scope="shared"` the norm is taken over the shared variables, and only these are normalized.
    """

    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients `w_i / ‖g_i‖`, `[T]` float32, with 0 for a norm of 0."""
        c = tf.math.divide_no_nan(weights, gradients.norms(self.scope))
        return tf.minimum(c, LARGEST_COEFFICIENT)
