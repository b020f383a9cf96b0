"""Random weighting of gradients."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.checks import integer
from mtq.random_numbers import stateless_normal


@keras.saving.register_keras_serializable("mtq", name="RandomWeighting")  # the class's earlier name
class RandomGradientWeighting(GramAggregator):
    """The update `Σ_i c_i w_i g_i` with `c = softmax(z)`, where z is drawn from a normal distribution at each update.

    Its expectation is the mean. It performs about as well as elaborate methods and is a baseline for them.

    Args:
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.
        seed: The seed of z, which is a function of the seed and the number of updates.

    Reference:
        Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, section 3.
    """

    needs_cosines = False
    stream_name = "RandomWeighting"  # so that the random numbers are those of the class's earlier name

    def __init__(self, scope: str = "shared", seed: int = 0) -> None:
        super().__init__(scope)
        self.seed = integer("seed of RandomGradientWeighting", seed, least=0)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes `softmax(z)` over the active tasks."""
        z = tf.cast(stateless_normal(norms.shape, [self.stream(self.seed), updates]), tf.float64)
        return tf.nn.softmax(tf.where(active, z, -1e9))

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "seed": self.seed}
