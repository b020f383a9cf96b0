"""MGDA: the shortest vector in the convex hull of the gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import smallest_with_products_above


@keras.saving.register_keras_serializable("mtq")
class MGDA(GramAggregator):
    """The shortest convex combination of the gradients: `Σ_i c_i g_i` with `c = argmin ‖Σ_i c_i g_i‖²`.

    The minimum is taken over `c ≥ 0, Σ_i c_i = 1`. The update conflicts with no task: `⟨update, g_i⟩ ≥ ‖update‖²`. It
    is 0 if gradients cancel. It becomes shorter as any task comes closer to its optimum, and leans toward the task
    with the smallest gradient.

    Reference:
        Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012; Sener and Koltun,
        "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, equation 3.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients of the shortest vector that has at least the same product with every gradient.

        They are then scaled to sum to 1. The problem is solved in terms of unit vectors, so that norms may differ by
        many orders of magnitude.
        """
        shortest = tf.reduce_min(tf.where(active, norms, 1.0))
        c = smallest_with_products_above(cosines, tf.where(active, shortest / norms, 0.0)) / norms
        c = tf.where(active, c, 0.0)
        return c / tf.maximum(tf.reduce_sum(c), 1e-30)
