"""Dynamic weight average: weights from the rates at which the losses fall."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive


@keras.saving.register_keras_serializable("mtq")
class DynamicWeightAverage(Adaptive):
    """Weights `w_i = T · softmax(r_i / temperature)` with the rates `r_i = L_i(k−1) / L_i(k−2)`.

    L(k) are the mean losses of period k. A task whose loss falls more slowly gets more weight. In the first two periods
    all weights are one.

    Args:
        temperature: The temperature of the softmax. Higher temperatures make the weights more equal.
        period: The number of updates over which losses are averaged; in the paper a period is an epoch.

    Reference:
        Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7.
    """

    needs_gradients = False

    def __init__(self, temperature: float = 2.0, period: int = 1_000) -> None:
        temperature = check_positive("DynamicWeightAverage", "temperature", temperature)
        self.temperature, self.period = temperature, integer("period of DynamicWeightAverage", period)

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the mean losses of the last two periods, and the sum and number of the losses in the current one."""
        self.means = self.add_variable("means", tf.zeros([2, num_tasks]))  # last period and the one before; 0 if none
        self.sums = self.add_variable("sums", tf.zeros(num_tasks))
        self.count = self.add_variable("count", tf.zeros([]))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Computes the weights from the last two periods, and adds the losses to the current one."""
        last, before = tf.unstack(tf.convert_to_tensor(self.means))
        rates = tf.where(tf.reduce_all(before > 0), last / tf.maximum(before, SMALLEST_LOSS), tf.ones_like(last))
        weights = losses.shape[0] * tf.nn.softmax(rates / self.temperature)
        sums, count = self.sums + tf.maximum(losses, SMALLEST_LOSS), self.count + 1.0
        is_over = count >= self.period
        assign_if_finite(self.means, tf.where(is_over, tf.stack([sums / count, last]), tf.stack([last, before])))
        assign_if_finite(self.sums, tf.where(is_over, tf.zeros_like(sums), sums))
        self.count.assign(tf.where(is_over, 0.0, count))
        return weights

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"temperature": self.temperature, "period": self.period}
