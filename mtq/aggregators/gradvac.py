"""GradVac: gradient vaccine."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.projections import others, random_orders
from mtq.aggregators.solvers import compiled
from mtq.checks import integer, real


@keras.saving.register_keras_serializable("mtq")
class GradVac(GramAggregator):
    """Turns gradients toward each other until their cosines reach the running means of these; then sums.

    For each task i, and the other tasks j in a random order that is drawn for each i, with `φ = cos(g_i', g_j)` and its
    running mean `φ̂_ij`: if `φ < φ̂`, `g_i' ← g_i' + ‖g_i'‖ (φ̂ √(1−φ²) − φ √(1−φ̂²)) / (‖g_j‖ √(1−φ̂²)) g_j`, which raises
    the cosine to `φ̂`. Then `φ̂ ← (1−β) φ̂ + β φ`. The update is `Σ_i g_i'`. With `φ̂ = 0` it would be PCGrad.

    Args:
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.
        beta: The rate β of the running means, from 0 to 1.
        seed: The seed of the orders, which are a function of the seed and the number of updates.

    Reference:
        Wang et al., "Gradient Vaccine", ICLR 2021, equation 3 and Algorithm 1.
    """

    def __init__(self, scope: str = "shared", beta: float = 0.01, seed: int = 0) -> None:
        super().__init__(scope)
        self.beta = real("beta of GradVac", beta, least=0, most=1)
        self.seed = integer("seed of GradVac", seed, least=0)

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the running means of the cosines."""
        self.targets = self.add_variable("targets", tf.zeros([num_tasks, num_tasks]))

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the sums of the turned gradients' coefficients, and updates the running means."""
        orders = random_orders(norms.shape[0], self.stream(self.seed), updates)
        targets = tf.cast(tf.convert_to_tensor(self.targets), tf.float64)
        pairs = active[:, None] & active[None, :]
        c, seen = _coefficients(norms, cosines, pairs, orders, targets)
        moved = targets + self.beta * (seen - targets)
        self.targets.assign(tf.cast(tf.where(pairs & tf.math.is_finite(moved), moved, targets), tf.float32))
        return c

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}


@compiled
def _coefficients(
    norms: tf.Tensor, cosines: tf.Tensor, pairs: tf.Tensor, orders: tf.Tensor, targets: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    turned = tf.linalg.diag(norms)  # row i: g_i' in terms of the unit vectors of all gradients
    seen, are_active = tf.zeros_like(cosines), tf.cast(pairs, tf.float64)
    for j in tf.unstack(orders, axis=1):  # j holds one task for each i
        is_other = others(j) * are_active  # otherwise a target above 0 would turn gradients toward inactive tasks
        inner = tf.matmul(turned, cosines)
        length = tf.sqrt(tf.maximum(tf.reduce_sum(inner * turned, axis=1), 0.0))
        cosine = tf.reduce_sum(tf.math.divide_no_nan(inner, length[:, None]) * is_other, axis=1)
        cosine = tf.clip_by_value(cosine, -1.0, 1.0)
        target = tf.clip_by_value(tf.reduce_sum(targets * is_other, axis=1), -1.0, 1.0 - 1e-6)
        wanted = tf.sqrt(1 - target**2)
        more = length * (target * tf.sqrt(1 - cosine**2) - cosine * wanted) / wanted
        turned += tf.where(cosine < target, more, 0.0)[:, None] * is_other
        seen += cosine[:, None] * is_other
    return tf.reduce_sum(turned, axis=0) / norms, seen
