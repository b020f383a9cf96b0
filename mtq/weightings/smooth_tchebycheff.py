"""Smooth Tchebycheff scalarization: a smooth maximum of the losses."""

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
    """Weights `w = λ · softmax(λ (L − ideal) / mu)`, the gradient of `mu · log Σ_i exp(λ_i (L_i − ideal) / mu)`.

    This function is a smooth maximum: the smaller mu, the more the task with the largest weighted loss dominates. The
    paper's preferences λ are the model's `task_weights`.

    Args:
        mu: The smoothing parameter, in units of the losses.
        ideal: The lowest loss that is considered reachable.

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
        """Returns the gradient of the smooth maximum with respect to the losses."""
        return task_weights * tf.nn.softmax(task_weights * (tf.stop_gradient(losses) - self.ideal) / self.mu)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"mu": self.mu, "ideal": self.ideal}
