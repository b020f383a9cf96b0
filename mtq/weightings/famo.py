"""FAMO: fast adaptive multitask optimization."""

from typing import Any

import keras
import tensorflow as tf

from mtq.checks import real
from mtq.task_gradients import TaskGradients
from mtq.weightings.adaptive import SMALLEST_LOSS, Adaptive, assign_if_finite, check_positive, log_losses

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@keras.saving.register_keras_serializable("mtq")
class FAMO(Adaptive):
    """Makes the logarithms of all losses fall at about the same rate, without the gradients of single tasks.

    The weights are `w_i = c z_i / L_i` with `z = softmax(ξ)` and `c = 1 / Σ_i z_i / L_i`. After an update Adam moves ξ
    against the gradient `Jᵀ (log L(t) − log L(t+1)) + γ ξ`, where J is the Jacobian of the softmax. The paper computes
    the losses after an update on the same batch again; here they are the losses of the next batch.

    Args:
        learning_rate: The learning rate of ξ.
        gamma: The decay γ of ξ toward 0.

    Reference:
        Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, Algorithm 1.
    """

    needs_gradients = False

    def __init__(self, learning_rate: float = 0.025, gamma: float = 0.001) -> None:
        learning_rate = check_positive("FAMO", "learning_rate", learning_rate)
        self.learning_rate, self.gamma = learning_rate, real("gamma of FAMO", gamma, least=0)

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates ξ, its moments for Adam, the logarithms of the last losses, and the number of steps."""
        self.xi = self.add_variable("xi", tf.zeros(num_tasks))
        self.moments = self.add_variable("moments", tf.zeros([2, num_tasks]))
        self.last_logs = self.add_variable("last_logs", tf.zeros(num_tasks))
        self.seen = self.add_variable("seen", tf.zeros([]))  # the number of updates whose losses were seen

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Moves ξ by the change of the losses since the last update, and returns the weights that follow."""
        logs, xi = log_losses(losses), tf.convert_to_tensor(self.xi)
        z = tf.nn.softmax(xi)
        fall = self.last_logs - logs
        slope = z * (fall - tf.reduce_sum(z * fall)) + self.gamma * xi
        moments = tf.convert_to_tensor(self.moments)
        first = _BETA_1 * moments[0] + (1 - _BETA_1) * slope
        second = _BETA_2 * moments[1] + (1 - _BETA_2) * slope**2
        steps = tf.maximum(tf.convert_to_tensor(self.seen), 1.0)
        step = first / (1 - _BETA_1**steps) / (tf.sqrt(second / (1 - _BETA_2**steps)) + _EPSILON)
        has_last = self.seen > 0
        assign_if_finite(self.moments, tf.where(has_last, tf.stack([first, second]), moments))
        assign_if_finite(self.xi, tf.where(has_last, xi - self.learning_rate * step, xi))
        assign_if_finite(self.last_logs, logs)
        self.seen.assign_add(1.0)
        shares = tf.nn.softmax(tf.convert_to_tensor(self.xi)) / tf.maximum(losses, SMALLEST_LOSS)
        return shares / tf.reduce_sum(shares)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"learning_rate": self.learning_rate, "gamma": self.gamma}
