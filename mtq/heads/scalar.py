"""`Scalar`: a head with one value for each action, as in DQN."""

from typing import Any

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.heads.head import Head
from mtq.heads.target import Target


@keras.saving.register_keras_serializable("mtq")
class Scalar(Head):
    """A head with one value for each action. Its loss is a function of the temporal-difference error.

    Args:
        return_scaling: The scaling of returns: None, `"running"`, `"popart"` or an `mtq.heads.ReturnScaling`.

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015.
    """

    loss_names = ("squared", "huber")
    is_linear = True

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the outputs."""
        return outputs

    def chosen(self, outputs: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        """Returns the values `[B]` of one action of each row."""
        return vl.select_actions(outputs, a)

    def losses(self, target: Target, outputs: tf.Tensor) -> tf.Tensor:
        """Computes the squared errors. `compile` may choose another loss in their place."""
        return vl.squared(target.encoded - outputs)

    def backup(self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor) -> Target:
        """Computes the targets `r + γ q`."""
        return _target(r_t + discount_t * outputs_t)

    def greedy_backup(
        self,
        r_t: tf.Tensor,
        discount_t: tf.Tensor,
        outputs_t: tf.Tensor,
        selector: tf.Tensor | None,
        mask_t: tf.Tensor | None,
    ) -> Target:
        """Computes the targets of Q-learning or, with a selector, of Double Q-learning."""
        if selector is None:
            return _target(vl.q_targets(r_t, discount_t, outputs_t, mask_t))
        return _target(vl.double_q_targets(r_t, discount_t, outputs_t, selector, mask_t))

    def soft_backup(
        self, r_t: tf.Tensor, discount_t: tf.Tensor, outputs_t: tf.Tensor, policy: tf.Tensor, bonus: tf.Tensor
    ) -> Target:
        """Computes the targets `r + γ Σ_a π(a) (q_a + bonus_a)`."""
        return self.backup(r_t, discount_t, tf.reduce_sum(policy * (outputs_t + bonus), axis=-1))

    def rescaled(self, target: Target, factor: tf.Tensor) -> Target:
        """Returns targets multiplied by a factor."""
        return _target(factor * target.value)


def _target(values: Any) -> Target:
    values = tf.stop_gradient(values)
    return Target(values, values)
