"""Gradients with their principal components aligned."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, number_of

_IS_ZERO = 1e-6  # of cosines computed in float32


@keras.saving.register_keras_serializable("mtq")
class AlignedMTL(GramAggregator):
    """The mean of the gradients after all their principal components were made as long as the smallest.

    With the Gram matrix `G = V Λ Vᵀ` of rank R the update is `Σ_i c_i g_i`, `c = √λ_R · V Λ^(−½) Vᵀ · 1/T`, over the
    components that are not zero. The gradients so changed are orthogonal and of equal length.

    The components' lengths are known as the square roots of eigenvalues, which float64 resolves down to 1e-16 of the
    largest: the update is right to 1e-3 of its length where the gradients' lengths differ by up to 1e5; where they
    differ by 1e7, it may be off by 0.2 of it.

    Reference:
        Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, equation 13.
    """

    def coefficients(
        self, lengths: tf.Tensor, cosines: tf.Tensor, is_there: tf.Tensor, updates: tf.Tensor
    ) -> tf.Tensor:
        """From the eigenvectors of the Gram matrix."""
        there = tf.cast(is_there, tf.float64)
        sizes = lengths * there
        num_tasks = lengths.shape[0]
        # The rank is that of the unit vectors: of the gradients themselves, some may be as short as rounding errors.
        is_dimension = tf.linalg.eigvalsh(cosines * there[:, None] * there[None, :]) > _IS_ZERO * num_tasks
        values, vectors = tf.linalg.eigh(cosines * sizes[:, None] * sizes[None, :])
        rank = tf.reduce_sum(tf.cast(is_dimension, tf.int32))
        counts = (tf.range(num_tasks) >= num_tasks - rank) & (values > 0)  # eigenvalues ascend
        smallest = tf.reduce_min(tf.where(counts, values, tf.reduce_max(values)))
        scales = tf.where(counts, tf.sqrt(smallest / tf.where(counts, values, 1.0)), 0.0)
        mean = there / number_of(is_there)
        return tf.linalg.matvec(vectors, scales * tf.linalg.matvec(vectors, mean, transpose_a=True))
