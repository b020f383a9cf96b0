"""A smooth maximum of the losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import Adaptive, check_positive


@keras.saving.register_keras_serializable("mtq")
class SmoothTchebycheff(Adaptive):
    """`w = softmax((L − ideal) / mu)`: the gradient of `mu · log Σ_i exp((L_i − ideal) / mu)`, a smooth maximum.

    The smaller mu, the more the task with the largest loss counts alone. The paper's preferences are the task weights.

    Args:
        mu: In units of the losses.
        ideal: The loss that is thought reachable.

    Reference:
        Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, equation 8.
    """

    def __init__(self, mu: float = 1.0, ideal: float = 0.0) -> None:
        check_positive("SmoothTchebycheff", "mu", mu)
        self.mu, self.ideal = mu, ideal

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """The gradient of the smooth maximum."""
        return tf.nn.softmax((losses - self.ideal) / self.mu)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"mu": self.mu, "ideal": self.ideal}
