"""Aligned-MTL: gradients with aligned principal components."""

import keras
import tensorflow as tf

from mtq.aggregators.gram import GramAggregator, num_active

_IS_ZERO = 1e-6  # for cosines computed in float32
_SMALLEST = 1e-40  # the lower bound of eigenvalues, which rounding may make zero or negative


@keras.saving.register_keras_serializable("mtq")
class AlignedMTL(GramAggregator):
    """The mean of the gradients after all their principal components are scaled to the norm of the smallest.

    With the Gram matrix `G = V Λ Vᵀ` of rank R the update is `Σ_i c_i g_i`, `c = √λ_R · V Λ^(−½) Vᵀ · 1/T`, over the
    components that are not zero. The scaled gradients are orthogonal and have equal norms.

    The unit vectors decide which components are zero: those whose squared norm, an eigenvalue of the cosines, is at
    most 1e-6 T, slightly above the rounding errors of float32. Two gradients form one component if their cosine is
    above 0.999998 or below -0.999998.

    The norms of the components are square roots of eigenvalues, which float64 resolves down to 1e-16 of the largest.
    The relative error of the update is at most 1e-3 if the norms of the gradients differ by a factor of up to 1e5. If
    they differ by more, the error is at most about 1e-7 of the largest gradient norm.

    Reference:
        Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, equation 13.
    """

    def coefficients(self, norms: tf.Tensor, cosines: tf.Tensor, active: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients from the eigenvectors of the Gram matrix.

        The rank is that of the unit vectors, because some gradients may be as short as rounding errors. Only those
        components of the unit vectors that exceed rounding errors are scaled.
        """
        mask = tf.cast(active, tf.float64)
        num_tasks = norms.shape[0]
        values, vectors = tf.linalg.eigh(cosines * mask[:, None] * mask[None, :])
        is_dimension = values > _IS_ZERO * num_tasks
        factor = vectors * tf.sqrt(tf.where(is_dimension, values, 0.0)) * (norms * mask)[:, None]
        values, vectors = tf.linalg.eigh(tf.matmul(factor, factor, transpose_b=True))
        rank = tf.reduce_sum(tf.cast(is_dimension, tf.int32))
        is_component = tf.range(num_tasks) >= num_tasks - rank  # eigenvalues are in ascending order
        values = tf.maximum(values, _SMALLEST)
        smallest = tf.reduce_min(tf.where(is_component, values, values[-1]))
        scales = tf.where(is_component, tf.sqrt(smallest / values), 0.0)
        mean = mask / num_active(active)
        return tf.linalg.matvec(vectors, scales * tf.linalg.matvec(vectors, mean, transpose_a=True))
