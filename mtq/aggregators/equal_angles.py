"""The direction at equal angles to all gradients."""

import tensorflow as tf

from mtq.aggregators.solvers import compiled, solve

_RIDGE = 1e-8


@compiled
def equal_angles(cosines: tf.Tensor, active: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Solves `Σ_j x_j cos_ij = 1` for all i. Then `Σ_j x_j u_j` is at equal angles to all unit vectors `u_i`.

    Args:
        cosines: The cosines between the gradients, `[T, T]` float64; the matrix may be singular.
        active: The mask of the active tasks, `[T]` bool.

    Returns:
        A tuple of the solution x, `[T]` float64, 0 for inactive tasks, and the norm of `Σ_j x_j u_j`, a float64 scalar,
        which is 0 if no direction is at equal angles to all gradients.
    """
    mask = tf.cast(active, tf.float64)
    x = mask * solve(cosines + _RIDGE * tf.eye(cosines.shape[0], dtype=tf.float64), mask[:, None])[:, 0]
    square = tf.reduce_sum(x) - _RIDGE * tf.reduce_sum(x**2)  # = xᵀ cos x
    exists = square > 1e-6 * tf.reduce_sum(tf.abs(x))
    return x, tf.where(exists, tf.sqrt(tf.maximum(square, 0.0)), 0.0)
