"""ConFIG: conflict-free inverse gradients."""

import keras
import tensorflow as tf

from mtq.aggregators.equal_angles import equal_angles
from mtq.aggregators.gram import GramAggregator


@keras.saving.register_keras_serializable("mtq")
class ConFIG(GramAggregator):
    """The direction at equal angles to all gradients, scaled to the sum of the gradients' projections on it.

    The update conflicts with no task. It is 0 if no direction has equal angles to all gradients.

    Reference:
        Liu, Chu and Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks", ICLR 2025,
        equations 2 and 3.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients of the direction, times the sum of the projections."""
        x, length = equal_angles(cosines, active)
        exists = length > 0
        direction = tf.where(exists, x / tf.where(exists, length, 1.0), 0.0)
        projections = tf.linalg.matvec(cosines, direction) * tf.where(active, norms, 0.0)
        return tf.reduce_sum(projections) * direction / norms
