"""Uncertainty weighting."""

from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive


@keras.saving.register_keras_serializable("mtq")
class Uncertainty(Adaptive):
    """Weights `w_i = ½ e^(−s_i)`, with `s_i = log σ_i²` learned by gradient descent on `Σ_i ½ e^(−s_i) L_i + ½ s_i`.

    At the optimum `w_i = 1 / (2 L_i)`. Steps of s are clipped to `learning_rate`, because large losses would move it
    too far.

    Args:
        learning_rate: The learning rate of s.

    Reference:
        Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, equation 7.
    """

    needs_gradients = False

    def __init__(self, learning_rate: float = 0.01) -> None:
        learning_rate = check_positive("Uncertainty", "learning_rate", learning_rate)
        self.learning_rate = learning_rate

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates s, initially zeros."""
        self.log_variances = self.add_variable("log_variances", tf.zeros(num_tasks))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Returns the current weights, and moves s one step for the next update."""
        s = tf.convert_to_tensor(self.log_variances)
        weights = 0.5 * tf.exp(-s)
        step = tf.clip_by_value(0.5 - weights * tf.maximum(losses, SMALLEST_LOSS), -1.0, 1.0)
        assign_if_finite(self.log_variances, s - self.learning_rate * step)
        return weights

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"learning_rate": self.learning_rate}
