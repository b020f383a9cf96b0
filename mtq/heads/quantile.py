"""`Quantile`: a head with quantiles of the return of each action."""

from typing import Any

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import integer, real
from mtq.heads.head import Head
from mtq.heads.target import Target


@keras.saving.register_keras_serializable("mtq")
class Quantile(Head):
    """A head with N quantiles of each action's return, whose mean is the action's value. Its loss is `quantile_huber`.

    Args:
        num_quantiles: The number N of quantiles.
        kappa: The size κ of an error above which the Huber loss is linear, in the units of the head.
        return_scaling: The scaling of returns: None, `"running"`, `"popart"` or an `mtq.heads.ReturnScaling`.

    Reference:
        Dabney et al., "Distributional Reinforcement Learning with Quantile Regression", AAAI 2018.
    """

    loss_names = ("quantile_huber",)
    is_linear = True
    losses_have_units = True

    def __init__(
        self, num_quantiles: int = 51, *, kappa: float = 1.0, return_scaling: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(return_scaling, **kwargs)
        self.num_outputs = self.num_quantiles = integer("num_quantiles of Quantile", num_quantiles)
        self.kappa = real("kappa of Quantile", kappa, above=0)

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the means of the quantiles."""
        return tf.reduce_mean(outputs, axis=-1)

    def losses(self, target: Target, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the quantile Huber losses."""
        return vl.quantile_huber(outputs, target.encoded, self.kappa)

    def backup(self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor) -> Target:
        """Computes the target quantiles `r + γ θ`."""
        return self._target(r_t[:, None] + discount_t[:, None] * outputs_t)

    def soft_backup(
        self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor, policy: tf.Tensor, bonus: tf.Tensor
    ) -> Target:
        """Computes the target quantiles `r + γ Σ_a π(a) (θ_a + bonus_a)`, as Munchausen-IQN does."""
        mean = tf.reduce_sum(policy[:, :, None] * (outputs_t + bonus[:, :, None]), axis=1)
        return self.backup(r_t, discount_t, mean)

    def rescaled(self, target: Target, factor: tf.Tensor) -> Target:
        """Returns targets multiplied by a factor."""
        return self._target(factor * target.encoded)

    def _target(self, quantiles: tf.Tensor) -> Target:
        quantiles = tf.stop_gradient(quantiles)
        return Target(quantiles, self.values(quantiles))

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "num_quantiles": self.num_quantiles, "kappa": self.kappa}
