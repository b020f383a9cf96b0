"""Nash-MTL: the Nash bargaining solution."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import power_balance


@keras.saving.register_keras_serializable("mtq")
class NashMTL(GramAggregator):
    """The Nash bargaining solution: `Σ_i c_i g_i` with `G c = 1/c`, where G is the Gram matrix.

    The equation gives the update the norm `√T` whatever the gradients are, where T counts the gradients that are not
    zero. Here the update is multiplied by the largest gradient norm, so that it shrinks with the gradients. (The
    authors' code divides G by its Frobenius norm, which multiplies the update by `√‖G‖`, and then clips its norm to 1.)
    Scaling a single gradient never changes the direction of the update; it changes its norm only if that gradient is
    the longest. The update is 0 if gradients cancel. The paper solves the equation by a sequence of convex programs
    outside of the graph. Here c is the minimum of the convex function `½ cᵀ G c − Σ log c_i`.

    Reference:
        Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, claim 3.1 and equation 3.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Solves the same equation for the unit vectors, and divides the solution by the norms."""
        return power_balance(cosines, tf.ones_like(norms), tf.constant(1.0, tf.float64)) / norms
