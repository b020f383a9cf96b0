"""Gradients with their principal components aligned."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active

_IS_ZERO = 1e-6  # of cosines computed in float32
_SMALLEST = 1e-40  # bound of eigenvalues, which rounding may make zero or negative


@keras.saving.register_keras_serializable("mtq")
class AlignedMTL(GramAggregator):
    """The mean of the gradients after all their principal components were made as long as the smallest.

    With the Gram matrix `G = V Λ Vᵀ` of rank R the update is `Σ_i c_i g_i`, `c = √λ_R · V Λ^(−½) Vᵀ · 1/T`, over the
    components that are not zero. The gradients so changed are orthogonal and of equal length.

    Which components are zero is decided by the unit vectors: those whose squared length, an eigenvalue of the cosines,
    is at most 1e-6 T, little above the rounding errors of float32. Two gradients are one component if their cosine is
    above 0.999998 or below -0.999998.

    The components' norms are known as the square roots of eigenvalues, which float64 resolves down to 1e-16 of the
    largest: the update is right to 1e-3 of its length where the gradients' norms differ by up to 1e5; where they
    differ by more, the error is at most about 1e-7 of the longest gradient.

    Reference:
        Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, equation 13.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """From the eigenvectors of the Gram matrix.

        The rank is that of the unit vectors: of the gradients themselves, some may be as short as rounding errors. Of
        the cosines, only what is above rounding errors is made longer or shorter.
        """
        there = tf.cast(active, tf.float64)
        num_tasks = norms.shape[0]
        values, vectors = tf.linalg.eigh(cosines * there[:, None] * there[None, :])
        is_dimension = values > _IS_ZERO * num_tasks
        factor = vectors * tf.sqrt(tf.where(is_dimension, values, 0.0)) * (norms * there)[:, None]
        values, vectors = tf.linalg.eigh(tf.matmul(factor, factor, transpose_b=True))
        rank = tf.reduce_sum(tf.cast(is_dimension, tf.int32))
        counts = tf.range(num_tasks) >= num_tasks - rank  # eigenvalues ascend
        values = tf.maximum(values, _SMALLEST)
        smallest = tf.reduce_min(tf.where(counts, values, values[-1]))
        scales = tf.where(counts, tf.sqrt(smallest / values), 0.0)
        mean = there / num_active(active)
        return tf.linalg.matvec(vectors, scales * tf.linalg.matvec(vectors, mean, transpose_a=True))
