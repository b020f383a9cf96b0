"""A solver that maximizes the smallest product of a vector with T gradients over a ball: a second-order cone program.

The problem is `max_d min_i ⟨g_i, d⟩` subject to `‖d − g_0‖ ≤ r`. It is solved in terms of the unit vectors
`u_i = g_i / ‖g_i‖` and the coefficients y of `d − g_0 = Σ_i y_i u_i`. If it were known which products are the smallest,
y would follow from one linear system. An active-set method finds them with one to four systems for most gradients. Its
solution is accepted only if it meets the Karush-Kuhn-Tucker conditions, which are sufficient here, with coefficients
that float32 can represent.

Otherwise a primal-dual interior-point method with Nesterov-Todd scaling solves the problem. It represents the ball as a
cone, because the norm has no second derivative at 0 and Newton's method on the norm does not converge for gradients
that nearly cancel. It returns the iterate with the best objective, and stops only when a dual point proves that one
optimal, or when the remaining gap consists of rounding errors.

Reference:
    Nocedal and Wright, "Numerical Optimization", 2006, sections 16.5 (active sets) and 12.3 (the conditions).
    Vandenberghe, "The CVXOPT linear and quadratic cone program solvers", 2010, sections 4, 5 and 7.
"""

from typing import NamedTuple

import tensorflow as tf

from mtq.aggregators.solvers import compiled, positive_definite_factor, solve

_MOST_ITERATIONS = 100
_PRECISION = 1e-9
_SMALLEST_GAP = 1e-3  # of the complementarity, in multiples of the precision; below it only rounding errors remain
_CENTERING = 0.1
_TO_THE_BORDER = 0.99
_SMALLEST_PIVOT = 1e-6  # above rounding errors of float32 cosines, below the pivot that a cosine of -0.9999 leaves
_MOST_GUESSES = 20
_RIDGE = 1e-12  # below the precision; avoids divisions by 0 for equal gradients
_LARGEST_SUM = 100.0  # of the coefficients, in radii; with _NOISE it keeps the squared norm of the step exact to 1e-3
_NOISE = 1e-7  # the error of a cosine computed in float32
_TINY = 1e-200
_FAR = 1e10


class _Cones(NamedTuple):
    """A point of the primal cones (slack and ball) and of the dual cones."""

    x: tf.Tensor  # d − g_0 in coordinates, [T]
    v: tf.Tensor  # the smallest product, scalar
    slack: tf.Tensor  # [T]
    z: tf.Tensor  # the multipliers of the slack, [T]
    head: tf.Tensor  # the multiplier of the ball's radius, scalar
    tail: tf.Tensor  # the multiplier of x, [T]


@compiled
def largest_smallest_product(
    cosines: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor, fallback: tf.Tensor
) -> tf.Tensor:
    """Solves `argmax_y min_i (C y + a)_i / b_i` subject to `yᵀ C y ≤ r²`.

    Args:
        cosines: The matrix C of cosines, `[T, T]` float64, positive semidefinite except for rounding errors, with ones
            on its diagonal.
        products: The products a of the unit vectors with the center of the ball, `[T]` float64.
        bounds: The divisors b, `[T]` float64, positive.
        radius: The radius r, a float64 scalar, positive.
        fallback: The point of the ball, `[T]` float64, that is returned if no point is found that is certainly better,
            rounding errors considered.

    Returns:
        The solution y, `[T]` float64.
    """
    first = tf.argmin((products + radius) / bounds)
    bounds = bounds / tf.gather(bounds, first)
    y, is_solved = _by_active_set(cosines, products, bounds, radius, first)
    return tf.cond(is_solved, lambda: y, lambda: _by_interior_point(cosines, products, bounds, radius, fallback))


def _by_active_set(
    cosines: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor, first: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Guesses which products are the smallest, solves for these alone, and corrects the guess by the resulting signs.

    Args:
        cosines: The matrix C, `[T, T]` float64.
        products: The products a, `[T]` float64.
        bounds: The divisors b, `[T]` float64.
        radius: The radius r, a float64 scalar.
        first: The index of the product that is taken for the smallest if the guess is empty, an int64 scalar.

    Returns:
        A tuple of y, `[T]` float64, and whether y is known to be the solution, a bool scalar.
    """
    num_tasks = cosines.shape[0]

    def iteration(
        done: tf.Tensor, active: tf.Tensor, _: tf.Tensor, __: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        mask = tf.cast(active, tf.float64)
        system = mask[:, None] * mask[None, :] * cosines + tf.linalg.diag(1 - mask + _RIDGE)
        solutions = solve(system, tf.stack([mask * bounds, mask * products], axis=1))
        along, free = solutions[:, 0], solutions[:, 1]  # y = v · along − free
        square, half = tf.tensordot(bounds, along, 1), tf.tensordot(products, along, 1)
        root = half**2 - square * (tf.tensordot(products, free, 1) - radius**2)
        v = (half + tf.sqrt(tf.maximum(root, 0.0))) / square
        y = v * along - free
        change = tf.linalg.matvec(cosines, y)
        slack = change + products - v * bounds
        violation = tf.reduce_max(tf.where(active, tf.maximum(tf.abs(slack), -y), -slack))
        excess = tf.abs(tf.tensordot(y, change, 1) - radius**2)
        is_solved = tf.maximum(violation * radius, excess) <= _PRECISION * radius**2
        is_certain = tf.reduce_sum(tf.abs(y)) <= _LARGEST_SUM * radius
        active = tf.where(active, y > 0, slack < 0)
        active |= ~tf.reduce_any(active) & (tf.range(num_tasks, dtype=tf.int64) == first)
        return done + 1, active, y, is_solved & is_certain

    def is_open(done: tf.Tensor, _: tf.Tensor, __: tf.Tensor, is_solved: tf.Tensor) -> tf.Tensor:
        return (done < _MOST_GUESSES) & ~is_solved

    guess = products <= tf.reduce_min((products + radius) / bounds) * bounds
    start = [tf.constant(0), guess, tf.zeros(num_tasks, tf.float64), tf.constant(False)]
    _, _, y, is_solved = tf.while_loop(is_open, iteration, start, parallel_iterations=1)
    return y, is_solved


def _by_interior_point(
    cosines: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor, fallback: tf.Tensor
) -> tf.Tensor:
    num_tasks = cosines.shape[0]
    factor = positive_definite_factor(cosines, _SMALLEST_PIVOT)

    def assess(point: _Cones) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes the primal point of the multipliers, its objective, and whether the duality gap is too large.

        The objective is computed from the cosines themselves rather than their factor, minus their rounding errors.
        """
        z = point.z
        moved = tf.linalg.matvec(factor, z, transpose_a=True)
        norm = tf.maximum(tf.norm(moved), _TINY)
        reached = tf.linalg.matvec(factor, radius / norm * moved) + products
        y = radius / norm * z
        primal = tf.reduce_min(reached / bounds)
        dual = (tf.tensordot(products, z, 1) + radius * norm) / tf.tensordot(bounds, z, 1)
        precision = _PRECISION * tf.maximum(tf.abs(dual), 1e-3 * radius)
        is_open = (dual - primal > precision) & (_complementarity(point, radius) > _SMALLEST_GAP * precision)
        certain = tf.linalg.matvec(cosines, y) + products - _NOISE * tf.reduce_sum(tf.abs(y))
        return y, tf.reduce_min(certain / bounds), is_open

    def iteration(
        done: tf.Tensor, point: _Cones, best: tf.Tensor, objective: tf.Tensor, _: tf.Tensor
    ) -> tuple[tf.Tensor, _Cones, tf.Tensor, tf.Tensor, tf.Tensor]:
        point = _moved(point, factor, products, bounds, radius)
        y, reached, is_open = assess(point)
        is_better = reached > objective
        return done + 1, point, tf.where(is_better, y, best), tf.where(is_better, reached, objective), is_open

    def is_open(done: tf.Tensor, _: _Cones, __: tf.Tensor, ___: tf.Tensor, is_open: tf.Tensor) -> tf.Tensor:
        return (done < _MOST_ITERATIONS) & is_open

    v = tf.reduce_min((products - radius) / bounds)
    slack = products - v * bounds
    z = 1 / (slack * tf.reduce_sum(bounds / slack))
    tail = -tf.linalg.matvec(factor, z, transpose_a=True)
    head = tf.maximum(1.5 * tf.norm(tail), 1 / (radius * tf.reduce_sum(bounds / slack)))
    start = _Cones(tf.zeros(num_tasks, tf.float64), v, slack, z, head, tail)
    objective = tf.reduce_min((tf.linalg.matvec(cosines, fallback) + products) / bounds)
    state = [tf.constant(0), start, fallback, objective, tf.constant(True)]
    return tf.while_loop(is_open, iteration, state, parallel_iterations=1)[2]


def _moved(point: _Cones, factor: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor) -> _Cones:
    """Takes one step along the central path."""
    num_tasks = factor.shape[0]
    transposed = lambda vector: tf.linalg.matvec(factor, vector, transpose_a=True)  # noqa: E731
    primal_residual = products + tf.linalg.matvec(factor, point.x) - point.v * bounds - point.slack
    dual_residual = -transposed(point.z) - point.tail
    target = _CENTERING * _complementarity(point, radius) / (num_tasks + 1)

    ball = _determinant(radius, point.x)
    dual_ball = _determinant(point.head, point.tail)
    root, dual_root = tf.sqrt(ball), tf.sqrt(dual_ball)
    head, tail = radius / root + point.head / dual_root, point.x / root - point.tail / dual_root
    size = tf.sqrt(
        tf.maximum(2 * (1 + (radius * point.head + tf.tensordot(point.x, point.tail, 1)) / (root * dual_root)), 4.0)
    )
    head, tail = head / size, -tail / size  # of the hyperbolic reflection that scales the ball
    scale = dual_root / root
    corner = scale * (2 * tail[:, None] * tail[None, :] + tf.eye(num_tasks, dtype=tf.float64))

    weights = point.z / point.slack
    weighted = weights[:, None] * factor
    border = tf.linalg.matvec(weighted, bounds, transpose_a=True)
    square = tf.reduce_sum(weights * bounds**2)
    upper = tf.concat([tf.matmul(factor, weighted, transpose_a=True) + corner, -border[:, None]], axis=1)
    system = tf.concat([upper, tf.concat([-border, square[None]], axis=0)[None]], axis=0)
    constant = target / point.slack - point.z - weights * primal_residual
    head_constant = target * radius / ball - point.head
    tail_constant = -target * point.x / ball - point.tail
    right = tf.concat(
        [
            -dual_residual + transposed(constant) + tail_constant,
            1 - tf.tensordot(bounds, point.z + constant, 1) + tf.zeros(1, tf.float64),
        ],
        axis=0,
    )
    step = solve(system, right[:, None])[:, 0]
    x, v = step[:-1], step[-1]
    change = tf.linalg.matvec(factor, x) - v * bounds
    slack, z = change + primal_residual, constant - weights * change
    head = head_constant - scale * 2 * head * tf.tensordot(tail, x, 1)
    tail = tail_constant - tf.linalg.matvec(corner, x)
    limits = [
        _reach(point.slack, slack),
        _reach(point.z, z),
        _reach_of_cone(radius, point.x, tf.zeros_like(radius), x),
        _reach_of_cone(point.head, point.tail, head, tail),
    ]
    length = tf.minimum(_TO_THE_BORDER * tf.reduce_min(tf.stack(limits)), 1.0)
    steps = _Cones(x, v, slack, z, head, tail)
    return _Cones(*(value + length * change for value, change in zip(point, steps, strict=True)))


def _complementarity(point: _Cones, radius: tf.Tensor) -> tf.Tensor:
    """The total complementarity, which is 0 at a solution."""
    return tf.tensordot(point.slack, point.z, 1) + radius * point.head + tf.tensordot(point.x, point.tail, 1)


def _determinant(head: tf.Tensor, tail: tf.Tensor) -> tf.Tensor:
    norm = tf.norm(tail)
    return tf.maximum((head - norm) * (head + norm), _TINY)


def _reach(x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """The largest length of a step that keeps all numbers positive."""
    return tf.reduce_min(tf.where(step < 0, -x / tf.where(step < 0, step, -1.0), _FAR))


def _reach_of_cone(head: tf.Tensor, tail: tf.Tensor, step: tf.Tensor, tail_step: tf.Tensor) -> tf.Tensor:
    """The largest length of a step that keeps the norm of the tail below the head."""
    root = tf.sqrt(_determinant(head, tail))
    head, tail = head / root, tail / root
    along = head * step - tf.tensordot(tail, tail_step, 1)
    across = tail_step - (step + along) / (head + 1) * tail
    return root / tf.maximum(tf.norm(across) - along, root / _FAR)
