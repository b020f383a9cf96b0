"""CAGrad: conflict-averse gradient descent."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.cone_solver import largest_smallest_product
from mtq.aggregators.gram import GramAggregator, num_active
from mtq.checks import real

_NO_BOUND = 1e-12


@keras.saving.register_keras_serializable("mtq")
class CAGrad(GramAggregator):
    """The update near the mean gradient that maximizes the smallest product with a task's gradient.

    With `g_0 = 1/T Σ_i g_i`, `g_w = Σ_i w_i g_i` and `w = argmin ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖` on the simplex, the update
    is `g_0 + c ‖g_0‖ g_w / ‖g_w‖`. With `c = 0` it is the mean; for `c → ∞` its direction becomes MGDA's.

    Args:
        c: The largest distance between the update and the mean gradient, as a multiple of the norm of the mean
            gradient; 0 or more. Below 1 every fixed point is a stationary point of the mean loss.
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.

    Reference:
        Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, Algorithm 1.
    """

    def __init__(self, c: float = 0.4, scope: str = "shared") -> None:
        super().__init__(scope)
        self.c = real("c of CAGrad", c, least=0)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients of the mean plus those of the solution within the ball around it."""
        mean = tf.where(active, norms, 0.0) / num_active(active)
        products = tf.linalg.matvec(cosines, mean)
        size = tf.sqrt(tf.maximum(tf.tensordot(mean, products, 1), 0.0))
        if self.c == 0:
            return mean / norms
        # In units in which the norm of the mean and the radius of the ball are at most 1.
        unit = tf.where(size > 0, size, 1.0) * max(self.c, 1.0)
        shortest = tf.reduce_min(tf.where(active, norms, 1.0))
        y = largest_smallest_product(
            cosines,
            tf.where(active, products / unit, 1.0),
            tf.where(active, shortest / norms, _NO_BOUND),
            tf.constant(min(self.c, 1.0), tf.float64),
            -mean / unit if self.c >= 1 else tf.zeros_like(mean),
        )
        return (mean + tf.where(size > 0, unit, 0.0) * y) / norms

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "c": self.c}
