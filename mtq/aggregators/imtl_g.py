"""IMTL-G: impartial gradients of the shared variables."""

import keras
import tensorflow as tf

from mtq.aggregators.equal_angles import equal_angles
from mtq.aggregators.gram import GramAggregator


@keras.saving.register_keras_serializable("mtq")
class IMTLG(GramAggregator):
    """The update `Σ_i c_i g_i` with equal projections on the directions of all gradients and `Σ_i c_i = 1`.

    The update is 0 if no direction has equal angles to all gradients. Coefficients may be negative, and then large. If
    gradients are linearly dependent, such as two in the same direction, the equations do not determine the norm of the
    update.

    Reference:
        Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, section 3.1, equation 6.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the solution of the linear equations."""
        x, length = equal_angles(cosines, active)
        c = x / norms
        total = tf.reduce_sum(c)
        is_solved = (length > 0) & (tf.abs(total) > 1e-6 * tf.reduce_sum(tf.abs(c)))
        return tf.where(is_solved, c / tf.where(is_solved, total, 1.0), 0.0)
