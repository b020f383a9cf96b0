"""Conflict-averse gradient descent."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.cone_solver import largest_smallest_product
from mtq.aggregators.gram import GramAggregator, num_active
from mtq.checks import real

_NO_BOUND = 1e-12


@keras.saving.register_keras_serializable("mtq")
class CAGrad(GramAggregator):
    """The update near the mean gradient that serves the worst-off task best.

    With `g_0 = 1/T Σ_i g_i`, `g_w = Σ_i w_i g_i` and `w = argmin ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖` on the simplex, the update
    is `g_0 + c ‖g_0‖ g_w / ‖g_w‖`. With `c = 0` it is the mean; for `c → ∞` its direction becomes MGDA's.

    Args:
        c: How far from the mean the update may be, in norms of the mean, from 0 on. Below 1 every fixed point is one
            of the mean loss.
        scope: Over which variables.

    Reference:
        Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, Algorithm 1.
    """

    def __init__(self, c: float = 0.4, scope: str = "shared") -> None:
        super().__init__(scope)
        self.c = real("c of CAGrad", c, least=0)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Those of the mean, and what is added."""
        mean = tf.where(active, norms, 0.0) / num_active(active)
        products = tf.linalg.matvec(cosines, mean)
        size = tf.sqrt(tf.maximum(tf.tensordot(mean, products, 1), 0.0))
        if self.c == 0:
            return mean / norms
        # In units in which both the mean and the ball are at most 1 long.
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
        """The settings as Keras saves them."""
        return {**super().get_config(), "c": self.c}
