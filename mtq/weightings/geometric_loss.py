"""The geometric mean of the losses."""

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import Adaptive, log_losses


@keras.saving.register_keras_serializable("mtq")
class GeometricLoss(Adaptive):
    """Weights `w_i = (Π_j L_j)^(1/T) / (T L_i)`, the gradient of the geometric mean of the losses.

    Reference:
        Chennupati et al., "MultiNet++", CVPR Workshops 2019, equation 2.
    """

    needs_gradients = False

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Computes the weights from the logarithms of the losses."""
        logs = log_losses(losses)
        return tf.exp(tf.reduce_mean(logs) - logs) / losses.shape[0]
