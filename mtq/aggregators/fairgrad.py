"""α-fair gradients."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import power_balance
from mtq.checks import real


@keras.saving.register_keras_serializable("mtq")
class FairGrad(GramAggregator):
    """The update of greatest α-fair utility: `Σ_i c_i g_i` with `G c = c^(−1/α)`, G the Gram matrix.

    α = 1 is proportional fairness, the direction of Nash-MTL; α → ∞ max-min fairness, that of MGDA. The gradients are
    first divided by the length of the longest, and the update is multiplied by it. A gradient that is l times shorter
    makes the update up to `l^((α−1)/(α+1))` times as long as the longest. 0 where gradients cancel.

    Args:
        alpha: α, from 1 to 10; for more take MGDA.
        scope: Over which variables.

    Reference:
        Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, equation 6.
    """

    def __init__(self, alpha: float = 2.0, scope: str = "shared") -> None:
        super().__init__(scope)
        self.alpha = real("alpha of FairGrad", alpha, least=1, most=10)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """With `x_i = c_i ‖g_i‖` the equation is `(cos · x)_i = ‖g_i‖^(1/α − 1) x_i^(−1/α)`."""
        power = tf.constant(1 / self.alpha, tf.float64)
        return power_balance(cosines, norms ** (power - 1), power) / norms

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "alpha": self.alpha}
