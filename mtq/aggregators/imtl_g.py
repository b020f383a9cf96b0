"""Impartial learning of the shared part."""

import keras
import tensorflow as tf

from mtq.aggregators.equal_angles import equal_angles
from mtq.aggregators.gram import GramAggregator


@keras.saving.register_keras_serializable("mtq")
class IMTLG(GramAggregator):
    """`Σ_i c_i g_i` with equal projections on all gradients' directions and `Σ_i c_i = 1`.

    Where no direction has equal angles to all gradients it is 0. Coefficients may be negative, and then large. Where
    gradients depend on each other, as two in the same direction do, the equations do not determine the update's length.

    Reference:
        Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, section 3.1, equation 6.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """The solution of the linear equations."""
        x, length = equal_angles(cosines, active)
        c = x / norms
        total = tf.reduce_sum(c)
        is_solved = (length > 0) & (tf.abs(total) > 1e-6 * tf.reduce_sum(tf.abs(c)))
        return tf.where(is_solved, c / tf.where(is_solved, total, 1.0), 0.0)
