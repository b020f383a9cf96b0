"""The direction at equal angles to all gradients."""

import tensorflow as tf

from mtq.aggregators.solvers import compiled, solve

_RIDGE = 1e-8


@compiled
def equal_angles(cosines: tf.Tensor, active: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Solves `Σ_j x_j cos_ij = 1` for all i: `Σ_j x_j u_j`, u the unit vectors, then has equal angles to all of them.

    Args:
        cosines: Between the gradients, `[T, T]` float64; may be singular.
        active: Which tasks count, `[T]` bool.

    Returns:
        x `[T]` float64, 0 where a task does not count, and the length of `Σ_j x_j u_j`, which is 0 if there is no such
        direction.
    """
    there = tf.cast(active, tf.float64)
    x = there * solve(cosines + _RIDGE * tf.eye(cosines.shape[0], dtype=tf.float64), there[:, None])[:, 0]
    square = tf.reduce_sum(x) - _RIDGE * tf.reduce_sum(x**2)  # = xᵀ cos x
    exists = square > 1e-6 * tf.reduce_sum(tf.abs(x))
    return x, tf.where(exists, tf.sqrt(tf.maximum(square, 0.0)), 0.0)
