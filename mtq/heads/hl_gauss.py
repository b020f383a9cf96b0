"""`HLGauss`: a head with a histogram of the return, trained on normal distributions around the targets."""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import integer, real
from mtq.heads.categorical import make_support
from mtq.heads.head import Head
from mtq.heads.target import Target


@keras.saving.register_keras_serializable("mtq")
class HLGauss(Head):
    """A head with a histogram of each action's return, whose mean is the action's value. Its loss is `cross_entropy`.

    The outputs are logits. The target value `y = r + γ q` becomes the histogram of a normal distribution around y.
    Choose the support so that it holds all returns and extends beyond them, because the distribution is cut off at its
    ends; or use a return scaling: with `"running"` the default support fits any task. Training warns if many targets
    are less than two standard deviations away from an end, or outside.

    Args:
        low: The lower end of the first bin, in the units of rewards; with a return scaling, in normalized units.
        high: The upper end of the last bin.
        num_bins: The number of bins, at least 2.
        sigma: The standard deviation of the normal distribution, in widths of a bin.
        return_scaling: The scaling of returns: None, `"running"` or an `mtq.heads.RunningScale`.

    Reference:
        Farebrother et al., "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", ICML
        2024, section 3.1.
    """

    loss_names = ("cross_entropy",)

    def __init__(
        self,
        low: float = -10.0,
        high: float = 10.0,
        num_bins: int = 51,
        *,
        sigma: float = 0.75,
        return_scaling: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(return_scaling, **kwargs)
        self.num_outputs = self.num_bins = integer("num_bins of HLGauss", num_bins, least=2)
        self.sigma = real("sigma of HLGauss", sigma, above=0)
        self.low, self.high, self._edges = make_support(type(self).__name__, low, high, self.num_bins + 1)
        self._centers = ((self._edges[1:] + self._edges[:-1]) / 2).astype(np.float32)
        self._width = (self.high - self.low) / self.num_bins
        # Nearer to an end, a good part of the normal distribution is cut off, which moves its mean inward. Values that
        # are learned from such targets stay within the support, however large the returns are.
        margin = 2 * self.sigma * self._width
        self.limits = (self.low + margin, self.high - margin)
        if self.limits[0] >= self.limits[1]:
            warnings.warn(
                f"num_bins of HLGauss should be more than four times sigma. Received: {self.num_bins} bins and a sigma "
                f"of {self.sigma:g} bins, with which the normal distribution around any target is cut off by the ends "
                "of the support, so that the learned values are biased. Give more bins or a smaller sigma.",
                stacklevel=2,
            )
            self.limits = (self.low, self.high)

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the means of the histograms with the given logits."""
        return vl.categorical_mean(outputs, self._centers)

    def losses(self, target: Target, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the cross-entropies."""
        return vl.cross_entropies(outputs, target.encoded)

    def backup(self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor) -> Target:
        """Computes the histograms around `r + γ q`."""
        return self._target(r_t + discount_t * self.values(outputs_t))

    def soft_backup(
        self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor, policy: tf.Tensor, bonus: tf.Tensor
    ) -> Target:
        """Computes the histograms around `r + γ Σ_a π(a) (q_a + bonus_a)`."""
        expected = tf.reduce_sum(policy * (self.values(outputs_t) + bonus), axis=-1)
        return self._target(r_t + discount_t * expected)

    def _target(self, values: tf.Tensor) -> Target:
        values = tf.stop_gradient(values)
        return Target(vl.histogram_probabilities(values, tf.constant(self._edges), self.sigma * self._width), values)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {
            **super().get_config(),
            "low": self.low,
            "high": self.high,
            "num_bins": self.num_bins,
            "sigma": self.sigma,
        }
