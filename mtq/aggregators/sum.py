"""The weighted sum of the gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import WeightedSum
from mtq.task_gradients import TaskGradients


@keras.saving.register_keras_serializable("mtq")
class Sum(WeightedSum):
    """The weighted sum `g_total = Σ_i w_i g_i`: the gradient of the weighted loss (equation 3 in README.md)."""

    is_linear = True

    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """Returns the task weights themselves, `[T]` float32."""
        return weights
