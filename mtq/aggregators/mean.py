"""The weighted mean."""

import keras
import tensorflow as tf

from mtq.aggregators.aggregator import WeightedSum
from mtq.task_gradients import TaskGradients


@keras.saving.register_keras_serializable("mtq")
class Mean(WeightedSum):
    """`1/T Σ_i w_i g_i`: the sum, whatever the number of tasks."""

    is_linear = True

    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """The weights over T."""
        return weights / gradients.num_tasks
