"""ExcessMTL: weights from the tasks' excess risks."""

from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import Adaptive, assign_if_finite, check_positive


@keras.saving.register_keras_serializable("mtq")
class ExcessMTL(Adaptive):
    """Weights that grow with each task's excess risk, the difference between its loss and the lowest possible loss.

    The risk is estimated as `E_i = g_iᵀ H_i^(−½) g_i`, where H is the running sum of the squared gradients over the
    shared variables. The weights are `w_i ← w_i exp(η E_i / E_i(0))`, scaled to sum to T. Unlike the loss, the excess
    risk of a task does not contain its noise. The weights do not depend on the scales of the losses. The method holds
    two numbers per task and shared weight in memory.

    Args:
        step_size: The step size η of the weights.

    Reference:
        He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, equations 3 and 4 and Algorithm 1.
    """

    def __init__(self, step_size: float = 0.01) -> None:
        step_size = check_positive("ExcessMTL", "step_size", step_size)
        self.step_size = step_size

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the logarithms of the weights, the first risks, and the sums of squares."""
        self.log_weights = self.add_variable("log_weights", tf.zeros(num_tasks))
        self.first_risks = self.add_variable("first_risks", tf.zeros(num_tasks))
        self.squares = self.add_variable("squares", tf.zeros([num_tasks, num_shared]))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Moves the weights one step along the risks and returns them."""
        squares = tf.square(gradients.matrix("shared"))
        sums = self.squares + squares
        risks = tf.reduce_sum(tf.math.divide_no_nan(squares, tf.sqrt(sums)), axis=1)
        first = tf.convert_to_tensor(self.first_risks)
        first = tf.where(first > 0, first, risks)
        log_weights = self.log_weights + self.step_size * tf.math.divide_no_nan(risks, first)
        log_weights -= tf.reduce_logsumexp(log_weights)  # the scale is irrelevant, but must not grow without bound
        assign_if_finite(self.squares, sums)
        assign_if_finite(self.first_risks, first)
        assign_if_finite(self.log_weights, log_weights)
        return losses.shape[0] * tf.nn.softmax(log_weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"step_size": self.step_size}
