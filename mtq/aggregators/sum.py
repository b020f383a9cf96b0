"""The weighted sum."""

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import WeightedSum
from mtq.task_gradients import TaskGradients


@keras.saving.register_keras_serializable("mtq")
class Sum(WeightedSum):
    """`g_total = Σ_i w_i g_i`: the gradient of the weighted sum of losses, equation 3 of the mission."""

    is_linear = True

    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """The weights themselves, `[T]`."""
        return weights
