"""GradNorm: weights that balance the tasks' gradient norms and training rates."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import real
from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive

_SMALLEST_WEIGHT = 1e-4


@keras.saving.register_keras_serializable("mtq")
class GradNorm(Adaptive):
    """Weights learned by gradient descent on `Σ_i |G_i − Ḡ r_i^α|`, whose targets `Ḡ r_i^α` are constants.

    `G_i = w_i ‖∇L_i‖` are the weighted gradient norms over the shared variables, `Ḡ` is their mean, and `r_i` is the
    ratio of the loss to the first loss, divided by the mean of these ratios. Steps are divided by `Ḡ`, so that the
    learning rate does not depend on the scale of the losses, and clipped to `learning_rate`. Weights are kept above
    1e-4, and scaled to sum to T after each step.

    Args:
        alpha: The exponent α, which favors tasks whose losses fall more slowly; 0 balances the gradient norms alone.
        learning_rate: The learning rate of the weights.

    Reference:
        Chen et al., "GradNorm", ICML 2018, equations 1 and 2 and Algorithm 1.
    """

    def __init__(self, alpha: float = 1.5, learning_rate: float = 0.025) -> None:
        learning_rate = check_positive("GradNorm", "learning_rate", learning_rate)
        self.alpha, self.learning_rate = real("alpha of GradNorm", alpha, least=0), learning_rate

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the weights, initially ones, and the first losses."""
        self.weights = self.add_variable("weights", tf.ones(num_tasks))
        self.first_losses = self.add_variable("first_losses", tf.zeros(num_tasks))  # 0 if none was seen yet

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Returns the current weights, and moves them one step for the next update."""
        weights, first = tf.convert_to_tensor(self.weights), tf.convert_to_tensor(self.first_losses)
        losses = tf.maximum(losses, SMALLEST_LOSS)
        first = tf.where(first > 0, first, losses)
        assign_if_finite(self.first_losses, first)
        norms = gradients.norms("shared")
        sizes = weights * norms
        mean = tf.reduce_mean(sizes)
        pace = losses / first
        targets = mean * (pace / tf.reduce_mean(pace)) ** self.alpha
        step = tf.math.divide_no_nan(tf.sign(sizes - targets) * norms, mean)
        moved = tf.maximum(weights - self.learning_rate * tf.clip_by_value(step, -1.0, 1.0), _SMALLEST_WEIGHT)
        assign_if_finite(self.weights, moved * losses.shape[0] / tf.reduce_sum(moved))
        return weights

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"alpha": self.alpha, "learning_rate": self.learning_rate}
