"""Impartial losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive


@keras.saving.register_keras_serializable("mtq")
class IMTLL(Adaptive):
    """`w_i = e^(s_i)`, where s is learnt by descending `Σ_i e^(s_i) L_i − s_i`: weighted losses become equal.

    At its optimum `w_i = 1 / L_i`. Steps of s are cut off at `learning_rate`, for large losses would throw it far.

    Args:
        learning_rate: Of s.

    Reference:
        Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, section 3.2, equation 9.
    """

    needs_gradients = False

    def __init__(self, learning_rate: float = 0.01) -> None:
        learning_rate = check_positive("IMTLL", "learning_rate", learning_rate)
        self.learning_rate = learning_rate

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Makes s, of zeros."""
        self.log_scales = self.add_variable("log_scales", tf.zeros(num_tasks))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """The weights of now; then a step of s."""
        s = tf.convert_to_tensor(self.log_scales)
        weights = tf.exp(s)
        step = tf.clip_by_value(weights * tf.maximum(losses, SMALLEST_LOSS) - 1.0, -1.0, 1.0)
        assign_if_finite(self.log_scales, s - self.learning_rate * step)
        return weights

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"learning_rate": self.learning_rate}
