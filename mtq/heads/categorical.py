"""`Categorical`: a head that predicts the probabilities of fixed atoms of the return, as in C51."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import integer, real
from mtq.heads.head import Head
from mtq.heads.target import Target


@keras.saving.register_keras_serializable("mtq")
class Categorical(Head):
    """A head that predicts the probabilities of fixed atoms of each action's return, as in C51.

    The outputs are logits, and the loss is `cross_entropy`. The target is the distribution `r + γ Z` of the next
    action's return, projected onto the atoms. Choose the support so that it holds all returns, or use a return scaling:
    with `"running"` the default support fits any task. Training warns if many targets lie outside.

    Args:
        low: The lowest atom, in the units of rewards; with a return scaling, in normalized units.
        high: The highest atom.
        num_atoms: The number of atoms, at least 2.
        return_scaling: The scaling of returns: None, `"running"` or an `mtq.heads.RunningScale`.

    Reference:
        Bellemare, Dabney and Munos, "A Distributional Perspective on Reinforcement Learning", ICML 2017.
    """

    loss_names = ("cross_entropy",)

    def __init__(
        self, low: float = -10.0, high: float = 10.0, num_atoms: int = 51, *, return_scaling: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(return_scaling, **kwargs)
        self.num_outputs = self.num_atoms = integer("num_atoms of Categorical", num_atoms, least=2)
        self.low, self.high, self._support = make_support(type(self).__name__, low, high, self.num_atoms)
        self.limits = (self.low, self.high)

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the expected returns of the distributions with the given logits."""
        return vl.categorical_mean(outputs, self._support)

    def losses(self, target: Target, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the cross-entropies."""
        return vl.cross_entropies(outputs, target.encoded)

    def backup(self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor) -> Target:
        """Projects the distributions `r + γ Z`."""
        probabilities = tf.nn.softmax(outputs_t)
        atoms = r_t[:, None] + discount_t[:, None] * self._support
        value = tf.stop_gradient(r_t + discount_t * self.values(outputs_t))
        return Target(vl.categorical_projection(atoms, probabilities, self._support_tensor()), value)

    def soft_backup(
        self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor, policy: tf.Tensor, bonus: tf.Tensor
    ) -> Target:
        """Projects the mixture, with weights π(a), of the distributions `r + γ (Z_a + bonus_a)`."""
        probabilities = tf.nn.softmax(outputs_t)  # [B, A, N]
        bonus = tf.where(policy > 0, bonus, tf.zeros_like(bonus))  # that of an illegal action is huge
        atoms = r_t[:, None, None] + discount_t[:, None, None] * (self._support + bonus[:, :, None])
        shape = [-1, outputs_t.shape[1] * outputs_t.shape[2]]
        mixture = tf.reshape(policy[:, :, None] * probabilities, shape)
        atoms = tf.reshape(atoms, shape)
        value = tf.reduce_sum(mixture * atoms, axis=-1)
        return Target(vl.categorical_projection(atoms, mixture, self._support_tensor()), tf.stop_gradient(value))

    def _support_tensor(self) -> tf.Tensor:
        return tf.constant(self._support)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "low": self.low, "high": self.high, "num_atoms": self.num_atoms}


def make_support(name: str, low: float, high: float, number: int) -> tuple[float, float, np.ndarray]:
    """Returns the ends of a support, and evenly spaced points from one end to the other.

    Args:
        name: The name of the head's class, for the message.
        low: The lowest value.
        high: The highest value.
        number: The number of points, at least 2.

    Returns:
        The ends as Python's floats, and the points, `[number]` float32.

    Raises:
        ValueError: The ends are not finite numbers, the support is empty, or its points are not distinct float32
            numbers.
    """
    low, high = real(f"low of {name}", low), real(f"high of {name}", high)
    if low >= high:
        raise ValueError(
            f"The support of {name} must not be empty: low must be less than high. Received: low = {low:g}, high = "
            f"{high:g}. Give ends between which all returns lie; with a return scaling, returns divided by their scale."
        )
    largest = max(abs(low), abs(high), high - low)
    is_finite = number * largest < float(np.finfo(np.float32).max)  # so that sums over the points are
    points = np.linspace(low, high, number).astype(np.float32) if is_finite else np.zeros(2, np.float32)
    spaces = np.diff(points)
    if np.any(spaces <= 0) or np.max(spaces) > 1.1 * np.min(spaces):
        raise ValueError(
            f"The support of {name} must have evenly spaced, finite float32 values. Received: {number} from "
            f"{low!r} to {high!r}, which float32 cannot tell apart or hold. Give other ends, or use a return scaling."
        )
    return low, high, points
