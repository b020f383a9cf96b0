"""Gradients with their principal components aligned."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, number_of


@keras.saving.register_keras_serializable("mtq")
class AlignedMTL(GramAggregator):
    """The mean of the gradients after all their principal components were made as long as the smallest.

    With the Gram matrix `G = V Λ Vᵀ` of rank R the update is `Σ_i c_i g_i`, `c = √λ_R · V Λ^(−½) Vᵀ · 1/T`, over the
    components that are not zero. The gradients so changed are orthogonal and of equal length.

    Reference:
        Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, equation 13.
    """

    def coefficients(
        self, lengths: tf.Tensor, cosines: tf.Tensor, is_there: tf.Tensor, updates: tf.Tensor
    ) -> tf.Tensor:
        """From the eigenvectors of the Gram matrix."""
        there = tf.cast(is_there, tf.float64)
        sizes = lengths * there
        values, vectors = tf.linalg.eigh(cosines * sizes[:, None] * sizes[None, :])
        counts = values > 1e-12 * tf.reduce_max(values) * lengths.shape[0]
        smallest = tf.reduce_min(tf.where(counts, values, tf.reduce_max(values)))
        scales = tf.where(counts, tf.sqrt(smallest / tf.where(counts, values, 1.0)), 0.0)
        mean = there / number_of(is_there)
        return tf.linalg.matvec(vectors, scales * tf.linalg.matvec(vectors, mean, transpose_a=True))
