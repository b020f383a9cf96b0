"""Solvers of small convex problems in T variables. They run within the graph, for a bounded number of iterations.

They compute in float64. All are compiled by XLA, even within graphs that are not, because they are loops of tiny
operations.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mtq.keras_internals import operations_are_watched

_MOST_ITERATIONS = 40
_PRECISION = 1e-12
_RESIDUAL = 1e-9
_TO_THE_BORDER = 0.99
_CENTERING = 0.1
_FAR = 1e10
_RIDGE = 1e-13
_MOST_NEWTON_STEPS = 200
_BALANCED = 1e-10
_IS_ZERO = 3e-7  # for cosines computed in float32


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of small tensors with XLA, even when it is called within a graph that is not compiled.

    While `tf.debugging.enable_check_numerics` is active the function runs without XLA, which has no kernel for its
    checks.

    Args:
        function: The function of tensors.

    Returns:
        The compiled function.
    """
    with_xla = tf.function(function, jit_compile=True, autograph=False)
    without = tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return (without if operations_are_watched() else with_xla)(*args)

    return call


def solve(matrix: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Solves positive definite linear systems by elimination, which needs no pivoting for such matrices.

    Args:
        matrix: The matrices, `[..., T, T]`.
        right: The right-hand sides, `[..., T, k]`.

    Returns:
        The solutions, `[..., T, k]`.
    """
    size = matrix.shape[-1]
    joined = tf.concat([matrix, right], axis=-1)
    for k in range(size):  # each iteration eliminates the first remaining column
        row = joined[..., k : k + 1, 1:] / joined[..., k : k + 1, :1]
        is_row = tf.one_hot(k, size, on_value=True, off_value=False, dtype=tf.bool)[:, None]
        joined = tf.where(is_row, row, joined[..., 1:] - joined[..., :1] * row)
    return joined


def minimum(
    gradient: Callable[[tf.Tensor], tf.Tensor],
    hessian: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
) -> tf.Tensor:
    """Minimizes quadratic convex functions of `x ≥ 0` by a primal-dual interior-point method.

    Args:
        gradient: The function that computes the gradient, `x [..., T]` → `[..., T]`.
        hessian: The function that computes the Hessian, `x [..., T]` → `[..., T, T]`.
        start: The initial x, `[..., T]`, positive.

    Returns:
        The minimizer x, `[..., T]`.

    Reference:
        Nocedal and Wright, "Numerical Optimization", 2006, section 16.6.
    """

    def iteration(done: tf.Tensor, x: tf.Tensor, slack: tf.Tensor) -> tuple[tf.Tensor, ...]:
        gap = tf.reduce_mean(x * slack, axis=-1, keepdims=True)
        is_open = _is_unsolved(x, slack, gradient(x))[..., None]
        target = _CENTERING * gap
        system = hessian(x) + tf.linalg.diag(slack / x + _RIDGE)
        right = target / x - gradient(x)
        step = solve(system, right[..., None])[..., 0]
        slack_step = target / x - slack - slack / x * step
        x, slack = (
            tf.where(is_open, value + _length(value, change) * change, value)
            for value, change in ((x, step), (slack, slack_step))
        )
        return done + 1, x, slack

    def is_open(done: tf.Tensor, x: tf.Tensor, slack: tf.Tensor) -> tf.Tensor:
        return (done < _MOST_ITERATIONS) & tf.reduce_any(_is_unsolved(x, slack, gradient(x)))

    slack = tf.maximum(gradient(start), 1.0)
    return tf.while_loop(is_open, iteration, [tf.constant(0), start, slack], parallel_iterations=1)[1]


def _is_unsolved(x: tf.Tensor, slack: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Whether the Karush-Kuhn-Tucker conditions are not met. A small gap alone does not prove optimality."""
    residual = tf.reduce_max(tf.abs(gradient - slack), axis=-1)
    is_dual = residual <= _RESIDUAL * (1 + tf.reduce_max(x, axis=-1))
    return (tf.reduce_mean(x * slack, axis=-1) > _PRECISION) | ~is_dual


def _length(x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """The largest length of a step, at most 1, that keeps x positive."""
    limit = tf.where(step < 0, -x / tf.where(step < 0, step, -1.0), _FAR)
    return tf.minimum(_TO_THE_BORDER * tf.reduce_min(limit, axis=-1, keepdims=True), 1.0)


@compiled
def smallest_with_products_above(quadratic: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
    """Solves `argmin_x xᵀ Q x` subject to `Q x ≥ bound`.

    It solves the dual problem, `argmin_x ½ xᵀ Q x − boundᵀ x` subject to `x ≥ 0`.

    Args:
        quadratic: The matrix Q, `[T, T]` float64, positive semidefinite with ones on its diagonal.
        bound: The lower bound of `Q x`, `[T]` float64, from 0 to 1.

    Returns:
        The solution x, `[T]` float64. If none exists, x is large and `Q x` is nearly 0.
    """
    quadratic = _with_ridge(quadratic, 1e-7)
    gradient = lambda x: tf.linalg.matvec(quadratic, x) - bound  # noqa: E731
    return minimum(gradient, lambda x: quadratic, tf.ones_like(bound))


@compiled
def smallest_above(quadratic: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
    """Solves `argmin_x xᵀ Q x` subject to `x ≥ bound`.

    Args:
        quadratic: The matrix Q, `[T, T]` float64, positive semidefinite with ones on its diagonal.
        bound: The lower bounds of x in one or several problems, `[..., T]` float64, 0 or more.

    Returns:
        The solutions x, `[..., T]` float64.
    """
    quadratic = _with_ridge(quadratic, 2e-7)
    scale = tf.reduce_max(bound, axis=-1, keepdims=True)
    scale = tf.where(scale > 0, scale, 1.0)
    bound = bound / scale
    gradient = lambda x: tf.linalg.matvec(quadratic, x + bound)  # noqa: E731
    hessian = lambda x: tf.broadcast_to(quadratic, [*x.shape, x.shape[-1]])  # noqa: E731
    return (minimum(gradient, hessian, tf.ones_like(bound)) + bound) * scale


@compiled
def power_balance(quadratic: tf.Tensor, constants: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """Solves `(Q x)_i = k_i x_i^(−p)` for positive x.

    It applies Newton's method to the convex function whose gradient is the difference of the two sides.

    Args:
        quadratic: The matrix Q, `[T, T]` float64, positive semidefinite with ones on its diagonal; a ridge is added.
        constants: The constants k, `[T]` float64, positive.
        exponent: The exponent p, a float64 scalar above 0 and at most 1.

    Returns:
        The solution x, `[T]` float64. Zeros if `xᵀ Q x` does not exceed rounding errors, because no solution exists
        then.
    """
    original, quadratic = quadratic, _with_ridge(quadratic, 1e-8)

    def iteration(done: tf.Tensor, log: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x = tf.exp(log)
        pull = constants * x**-exponent
        residual = tf.linalg.matvec(quadratic, x) - pull
        step = solve(quadratic + tf.linalg.diag(exponent * pull / x), -residual[:, None])[:, 0]
        return done + 1, tf.math.log(x + _length(x, step) * step), tf.reduce_max(tf.abs(residual) / pull)

    def is_open(done: tf.Tensor, _: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
        return (done < _MOST_NEWTON_STEPS) & (error > _BALANCED)

    start = [tf.constant(0), tf.math.log(constants) / (1 + exponent), tf.constant(_FAR, tf.float64)]
    x = tf.exp(tf.while_loop(is_open, iteration, start, parallel_iterations=1)[1])
    square = tf.tensordot(x, tf.linalg.matvec(original, x), 1)
    return tf.where(square > _IS_ZERO * tf.reduce_sum(x) ** 2, x, tf.zeros_like(x))


def positive_definite_factor(matrix: tf.Tensor, smallest_pivot: float) -> tf.Tensor:
    """Computes a factor A with `A Aᵀ = Q` by the Cholesky method with the largest pivot first.

    Once all pivots are too small, the remainder of Q is replaced by the smallest pivot times the identity. Without the
    pivoting, rounding errors that are divided by small pivots would grow from column to column.

    Args:
        matrix: The matrix Q, `[T, T]` float64, positive definite except for rounding errors of float32, which may make
            eigenvalues negative.
        smallest_pivot: The lower bound of the pivots.

    Returns:
        The factor A, `[T, T]` float64, with its columns in the order of the pivots.
    """
    size, columns = matrix.shape[0], []
    is_left = tf.ones(size, tf.bool)
    for _ in range(size):
        pivots = tf.linalg.diag_part(matrix)
        k = tf.argmax(tf.where(is_left, pivots, -1.0))
        pivot, is_pivot = tf.gather(pivots, k), tf.range(size, dtype=tf.int64) == k
        is_left &= ~is_pivot
        root = tf.sqrt(tf.maximum(pivot, smallest_pivot))
        below = tf.where(is_left & (pivot > smallest_pivot), tf.gather(matrix, k), 0.0) / root
        columns.append(below + tf.where(is_pivot, root, 0.0))
        matrix -= below[:, None] * below[None, :]
    return tf.stack(columns, axis=1)


def _with_ridge(quadratic: tf.Tensor, ridge: float) -> tf.Tensor:
    """Makes a matrix positive definite that may have negative eigenvalues due to rounding errors of float32."""
    return quadratic + ridge * tf.eye(quadratic.shape[-1], dtype=quadratic.dtype)
