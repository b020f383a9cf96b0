"""IMTL-L: impartial losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive


@keras.saving.register_keras_serializable("mtq")
class IMTLL(Adaptive):
    """Weights `w_i = e^(s_i)`, with s learned by gradient descent on `Σ_i e^(s_i) L_i − s_i`.

    At the optimum `w_i = 1 / L_i`, so that the weighted losses are equal. Steps of s are clipped to `learning_rate`,
    because large losses would move it too far.

    Args:
        learning_rate: The learning rate of s.

    Reference:
        Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, section 3.2, equation 9.
    """

    needs_gradients = False

    def __init__(self, learning_rate: float = 0.01) -> None:
        learning_rate = check_positive("IMTLL", "learning_rate", learning_rate)
        self.learning_rate = learning_rate

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates s, initially zeros."""
        self.log_scales = self.add_variable("log_scales", tf.zeros(num_tasks))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Returns the current weights, and moves s one step for the next update."""
        s = tf.convert_to_tensor(self.log_scales)
        weights = tf.exp(s)
        step = tf.clip_by_value(weights * tf.maximum(losses, SMALLEST_LOSS) - 1.0, -1.0, 1.0)
        assign_if_finite(self.log_scales, s - self.learning_rate * step)
        return weights

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"learning_rate": self.learning_rate}
