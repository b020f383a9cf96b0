"""The shortest vector between the gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import smallest_with_products_above


@keras.saving.register_keras_serializable("mtq")
class MGDA(GramAggregator):
    """`Σ_i c_i g_i` for `c = argmin ‖Σ_i c_i g_i‖²` with `c ≥ 0, Σ_i c_i = 1`.

    In conflict with no task: `⟨update, g_i⟩ ≥ ‖update‖²`. Where the gradients cancel each other it is 0. It is the
    shorter the closer any task is to its optimum, and leans towards the task with the smallest gradient.

    Reference:
        Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012; Sener and Koltun,
        "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, equation 3.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """The update is the shortest whose product with every gradient is as large, scaled to the convex hull.

        In terms of unit vectors, so that norms may differ by many orders of magnitude.
        """
        shortest = tf.reduce_min(tf.where(active, norms, 1.0))
        c = smallest_with_products_above(cosines, tf.where(active, shortest / norms, 0.0)) / norms
        c = tf.where(active, c, 0.0)
        return c / tf.maximum(tf.reduce_sum(c), 1e-30)
