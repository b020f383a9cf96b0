"""Conflict-averse gradient descent."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, number_of
from mtq.aggregators.solvers import linear_and_norm_on_simplex
from mtq.numeric import real


@keras.saving.register_keras_serializable("mtq")
class CAGrad(GramAggregator):
    """The update near the mean gradient that serves the worst-off task best.

    With `g_0 = 1/T Σ_i g_i`, `g_w = Σ_i w_i g_i` and `w = argmin ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖` on the simplex, the update
    is `g_0 + c ‖g_0‖ g_w / ‖g_w‖`. With `c = 0` it is the mean; for `c → ∞` its direction becomes MGDA's.

    Args:
        c: How far from the mean the update may be, in lengths of the mean, from 0 on. Below 1 every fixed point is one
            of the mean loss.
        scope: Over which variables.

    Reference:
        Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, Algorithm 1.
    """

    def __init__(self, c: float = 0.4, scope: str = "shared") -> None:
        super().__init__(scope)
        self.c = real("c of CAGrad", c, least=0)

    def coefficients(
        self, lengths: tf.Tensor, cosines: tf.Tensor, is_there: tf.Tensor, updates: tf.Tensor
    ) -> tf.Tensor:
        """Those of the mean, and what is added."""
        gram = cosines * lengths[:, None] * lengths[None, :]
        mean = tf.cast(is_there, tf.float64) / number_of(is_there)
        with_mean = tf.linalg.matvec(gram, mean)
        radius = self.c * tf.sqrt(tf.maximum(tf.tensordot(mean, with_mean, 1), 0.0))
        w = linear_and_norm_on_simplex(gram, with_mean, radius, is_there)
        length = tf.sqrt(tf.maximum(tf.tensordot(w, tf.linalg.matvec(gram, w), 1), 0.0))
        return mean + w * tf.where(length > 1e-7, radius / tf.maximum(length, 1e-7), 0.0)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "c": self.c}
