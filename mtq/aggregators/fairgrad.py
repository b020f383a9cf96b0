"""FairGrad: α-fair updates."""

from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator
from mtq.aggregators.solvers import power_balance
from mtq.checks import real


@keras.saving.register_keras_serializable("mtq")
class FairGrad(GramAggregator):
    """The update of greatest α-fair utility: `Σ_i c_i g_i` with `G c = c^(−1/α)`, where G is the Gram matrix.

    α = 1 is proportional fairness and gives the direction of Nash-MTL; α → ∞ is max-min fairness and gives that of
    MGDA. The gradients are first divided by the largest norm, and the update is multiplied by it. If a gradient is l
    times shorter than the longest, the update is up to `l^((α−1)/(α+1))` times as long as the longest gradient. The
    update is 0 if gradients cancel.

    Args:
        alpha: The fairness exponent α, from 1 to 10; for larger exponents use `MGDA`.
        scope: The variables over which gradients are aggregated, `"shared"` or `"all"`; see `Aggregator`.

    Reference:
        Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, equation 6.
    """

    def __init__(self, alpha: float = 2.0, scope: str = "shared") -> None:
        super().__init__(scope)
        self.alpha = real("alpha of FairGrad", alpha, least=1, most=10)

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Solves `(cos · x)_i = ‖g_i‖^(1/α − 1) x_i^(−1/α)`, the equation in terms of `x_i = c_i ‖g_i‖`."""
        power = tf.constant(1 / self.alpha, tf.float64)
        return power_balance(cosines, norms ** (power - 1), power) / norms

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "alpha": self.alpha}
