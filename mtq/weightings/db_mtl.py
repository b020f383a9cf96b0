"""DB-MTL: dual balancing of losses and gradients."""

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive

_LARGEST_WEIGHT = 1e12


@keras.saving.register_keras_serializable("mtq")
class DBMTL(Adaptive):
    """Balances losses by their logarithms, and scales the gradients of these to the norm of the longest.

    With `n_i = ‖∇ log L_i‖ = ‖∇L_i‖ / L_i` over the shared variables, `w_i = max_j n_j / ‖∇L_i‖`. This is the paper's
    method without its running mean of gradients (β = 0).

    Reference:
        Lin et al., "Dual-Balancing for Multi-Task Learning", 2023, equations 1 and 2.
    """

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Computes the weights from losses and gradient norms; 0 for a task whose gradient is zero."""
        norms = gradients.norms("shared")
        longest = tf.reduce_max(norms / tf.maximum(losses, SMALLEST_LOSS))
        return tf.minimum(tf.math.divide_no_nan(longest, norms), _LARGEST_WEIGHT)
