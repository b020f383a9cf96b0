"""The Nash bargaining solution."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import power_balance


@keras.saving.register_keras_serializable("mtq")
class NashMTL(GramAggregator):
    """The update on which the tasks would agree in bargaining: `Σ_i c_i g_i` with `G c = 1/c`, G the Gram matrix.

    The equation makes the update `√T` long whatever the gradients, T counting those that are not zero; here it is
    multiplied by the length of the longest gradient, so that it shrinks with them. (The authors' code divides G by its
    Frobenius norm, which multiplies the update by `√‖G‖`, and then clips it to length 1.) Scaling a single gradient
    changes the update's length, if it is the longest, and never its direction. 0 where gradients cancel. The paper
    solves the equation by a sequence of convex programs outside of the graph; here it is the minimum of the convex
    `½ cᵀ G c − Σ log c_i`.

    Reference:
        Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, claim 3.1 and equation 3.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """With unit vectors in the place of the gradients, the same equation; then divided by the norms."""
        return power_balance(cosines, tf.ones_like(norms), tf.constant(1.0, tf.float64)) / norms
