"""PCGrad: projection of conflicting gradients."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.projections import others, random_orders
from mtq.aggregators.solvers import compiled
from mtq.checks import integer


@keras.saving.register_keras_serializable("mtq")
class PCGrad(GramAggregator):
    """Removes from each task's gradient the components that conflict with other tasks' gradients; then sums.

    For each task i, and the other tasks j in a random order that is drawn for each i: if `⟨g_i', g_j⟩ < 0`,
    `g_i' ← g_i' − ⟨g_i', g_j⟩ / ‖g_j‖² g_j`. The update is `Σ_i g_i'`. With two tasks it conflicts with neither.

    Args:
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.
        seed: The seed of the orders, which are a function of the seed and the number of updates.

    Reference:
        Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, Algorithm 1.
    """

    def __init__(self, scope: str = "shared", seed: int = 0) -> None:
        super().__init__(scope)
        self.seed = integer("seed of PCGrad", seed, least=0)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the sums of the projected gradients' coefficients."""
        return _coefficients(norms, cosines, random_orders(norms.shape[0], self.stream(self.seed), updates))

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "seed": self.seed}


@compiled
def _coefficients(norms: tf.Tensor, cosines: tf.Tensor, orders: tf.Tensor) -> tf.Tensor:
    projected = tf.linalg.diag(norms)  # row i: g_i' in terms of the unit vectors of all gradients
    for j in tf.unstack(orders, axis=1):  # j holds one task for each i
        is_other = others(j)
        inner = tf.reduce_sum(tf.matmul(projected, cosines) * is_other, axis=1)
        projected -= tf.minimum(inner, 0.0)[:, None] * is_other
    return tf.reduce_sum(projected, axis=0) / norms
