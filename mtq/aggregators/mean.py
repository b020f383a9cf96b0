"""The weighted mean of the gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import WeightedSum
from mtq.task_gradients import TaskGradients


@keras.saving.register_keras_serializable("mtq")
class Mean(WeightedSum):
    """The weighted mean `1/T Σ_i w_i g_i`: the weighted sum, divided by the number of tasks."""

    is_linear = True

    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients `w_i / T`, `[T]` float32."""
        return weights / gradients.num_tasks
