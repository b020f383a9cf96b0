"""A smooth maximum of the losses."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import real
from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet
from mtq.weightings.adaptive import check_positive
from mtq.weightings.weighting import Weighting


@keras.saving.register_keras_serializable("mtq")
class SmoothTchebycheff(Weighting):
    """`w = λ · softmax(λ (L − ideal) / mu)`: the gradient of `mu · log Σ_i exp(λ_i (L_i − ideal) / mu)`.

    That is a smooth maximum: the smaller mu, the more the task with the largest weighted loss counts alone. λ, the
    paper's preferences, are the model's `task_weights`.

    Args:
        mu: In units of the losses.
        ideal: The loss that is thought reachable.

    Reference:
        Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, equation 8.
    """

    needs_gradients = False

    def __init__(self, mu: float = 1.0, ideal: float = 0.0) -> None:
        mu = check_positive("SmoothTchebycheff", "mu", mu)
        self.mu, self.ideal = mu, real("ideal of SmoothTchebycheff", ideal)

    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """The gradient of the smooth maximum."""
        return task_weights * tf.nn.softmax(task_weights * (tf.stop_gradient(losses) - self.ideal) / self.mu)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"mu": self.mu, "ideal": self.ideal}
