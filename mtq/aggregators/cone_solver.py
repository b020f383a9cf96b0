"""The vector of a ball whose smallest product with T vectors is the largest: a second-order cone program.

`max_d min_i ⟨g_i, d⟩` for `‖d − g_0‖ ≤ r` in terms of the unit vectors `u_i = g_i / ‖g_i‖` and of the coefficients y of
`d − g_0 = Σ_i y_i u_i`. Were it known which products are the smallest, y would follow from one linear system. An
active-set method finds these in one to four systems for most gradients. Its answer is accepted only if it meets the
conditions of Karush, Kuhn and Tucker, which are sufficient here, with coefficients that float32 can represent.

Otherwise a primal-dual interior-point method with Nesterov and Todd's scaling solves it, which keeps the ball as a
cone: the norm itself has no second derivative at 0, and Newton's method on it does not converge where the gradients
nearly cancel. The iterate that is returned is the best by the objective itself, and the iterations end only when a
dual point proves it optimal, or when rounding errors are all that is left.

Reference:
    Nocedal and Wright, "Numerical Optimization", 2006, sections 16.5 (active sets) and 12.3 (the conditions).
    Vandenberghe, "The CVXOPT linear and quadratic cone program solvers", 2010, sections 4, 5 and 7.
"""

from typing import NamedTuple

import tensorflow as tf

from mtq.aggregators.solvers import compiled, positive_definite_factor, solve

_MOST_ITERATIONS = 100
_PRECISION = 1e-9
_SMALLEST_GAP = 1e-3  # of the complementarity, in precisions; with less, rounding errors are all that is left
_CENTERING = 0.1
_TO_THE_BORDER = 0.99
_SMALLEST_PIVOT = 1e-6  # above the rounding errors of cosines computed in float32, below what -0.9999 leaves
_MOST_GUESSES = 20
_RIDGE = 1e-12  # below the precision, so that equal gradients divide nothing by 0
_LARGEST_SUM = 100.0  # of the coefficients, in radii: with _NOISE, the step's squared length is then right to 1e-3
_NOISE = 1e-7  # of a cosine computed in float32
_TINY = 1e-200
_FAR = 1e10


class _Cones(NamedTuple):
    """A point of the primal (slack, ball) and of the dual cones."""

    x: tf.Tensor  # d − g_0 in coordinates, [T]
    v: tf.Tensor  # the smallest product, scalar
    slack: tf.Tensor  # [T]
    z: tf.Tensor  # the multipliers of the slack, [T]
    head: tf.Tensor  # the multiplier of the ball's radius, scalar
    tail: tf.Tensor  # that of x, [T]


@compiled
def largest_smallest_product(
    cosines: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor, fallback: tf.Tensor
) -> tf.Tensor:
    """`argmax_y min_i (C y + a)_i / b_i` for `yᵀ C y ≤ r²`.

    Args:
        cosines: C, `[T, T]` float64, positive semidefinite but for rounding errors, with ones on its diagonal.
        products: a, of the unit vectors with the centre of the ball, `[T]` float64.
        bounds: b, `[T]` float64, positive.
        radius: r, float64 scalar, positive.
        fallback: A point of the ball that is returned if none is found that is better in spite of rounding errors,
            `[T]` float64.

    Returns:
        y, `[T]`.
    """
    first = tf.argmin((products + radius) / bounds)
    bounds = bounds / tf.gather(bounds, first)
    y, is_solved = _by_active_set(cosines, products, bounds, radius, first)
    return tf.cond(is_solved, lambda: y, lambda: _by_interior_point(cosines, products, bounds, radius, fallback))


def _by_active_set(
    cosines: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor, first: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Guesses which products are the smallest, solves for these alone, and corrects the guess by the signs found.

    Args:
        cosines: C.
        products: a.
        bounds: b.
        radius: r.
        first: The index of a product that is among the smallest where the guess is none at all.

    Returns:
        y, `[T]`, and whether it is known to be the solution.
    """
    num_tasks = cosines.shape[0]

    def iteration(
        done: tf.Tensor, active: tf.Tensor, _: tf.Tensor, __: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        there = tf.cast(active, tf.float64)
        system = there[:, None] * there[None, :] * cosines + tf.linalg.diag(1 - there + _RIDGE)
        both = solve(system, tf.stack([there * bounds, there * products], axis=1))
        along, free = both[:, 0], both[:, 1]  # y = v · along − free
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

    def assess(at: _Cones) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The primal point that belongs to multipliers, its objective, and whether the duality gap is too large.

        The objective is that of the cosines themselves, whatever their factor, less their rounding errors.
        """
        z = at.z
        moved = tf.linalg.matvec(factor, z, transpose_a=True)
        norm = tf.maximum(tf.norm(moved), _TINY)
        reached = tf.linalg.matvec(factor, radius / norm * moved) + products
        y = radius / norm * z
        primal = tf.reduce_min(reached / bounds)
        dual = (tf.tensordot(products, z, 1) + radius * norm) / tf.tensordot(bounds, z, 1)
        precision = _PRECISION * tf.maximum(tf.abs(dual), 1e-3 * radius)
        is_open = (dual - primal > precision) & (_complementarity(at, radius) > _SMALLEST_GAP * precision)
        certain = tf.linalg.matvec(cosines, y) + products - _NOISE * tf.reduce_sum(tf.abs(y))
        return y, tf.reduce_min(certain / bounds), is_open

    def iteration(
        done: tf.Tensor, at: _Cones, best: tf.Tensor, objective: tf.Tensor, _: tf.Tensor
    ) -> tuple[tf.Tensor, _Cones, tf.Tensor, tf.Tensor, tf.Tensor]:
        at = _moved(at, factor, products, bounds, radius)
        y, reached, is_open = assess(at)
        is_better = reached > objective
        return done + 1, at, tf.where(is_better, y, best), tf.where(is_better, reached, objective), is_open

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


def _moved(at: _Cones, factor: tf.Tensor, products: tf.Tensor, bounds: tf.Tensor, radius: tf.Tensor) -> _Cones:
    """One step along the central path."""
    num_tasks = factor.shape[0]
    none = tf.zeros(1, tf.float64)
    transposed = lambda vector: tf.linalg.matvec(factor, vector, transpose_a=True)  # noqa: E731
    primal_residual = products + tf.linalg.matvec(factor, at.x) - at.v * bounds - at.slack
    dual_residual = -transposed(at.z) - at.tail
    target = _CENTERING * _complementarity(at, radius) / (num_tasks + 1)

    ball = _determinant(radius, at.x)
    dual_ball = _determinant(at.head, at.tail)
    root, dual_root = tf.sqrt(ball), tf.sqrt(dual_ball)
    head, tail = radius / root + at.head / dual_root, at.x / root - at.tail / dual_root
    size = tf.sqrt(tf.maximum(2 * (1 + (radius * at.head + tf.tensordot(at.x, at.tail, 1)) / (root * dual_root)), 4.0))
    head, tail = head / size, -tail / size  # of the hyperbolic reflection that scales the ball
    scale = dual_root / root
    corner = scale * (2 * tail[:, None] * tail[None, :] + tf.eye(num_tasks, dtype=tf.float64))

    weights = at.z / at.slack
    weighted = weights[:, None] * factor
    border = tf.linalg.matvec(weighted, bounds, transpose_a=True)
    square = tf.reduce_sum(weights * bounds**2)
    upper = tf.concat([tf.matmul(factor, weighted, transpose_a=True) + corner, -border[:, None]], axis=1)
    system = tf.concat([upper, tf.concat([-border, square[None]], axis=0)[None]], axis=0)
    constant = target / at.slack - at.z - weights * primal_residual
    head_constant = target * radius / ball - at.head
    tail_constant = -target * at.x / ball - at.tail
    right = tf.concat(
        [
            -dual_residual + transposed(constant) + tail_constant,
            1 - tf.tensordot(bounds, at.z + constant, 1) + none,
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
        _reach(at.slack, slack),
        _reach(at.z, z),
        _reach_of_cone(radius, at.x, tf.zeros_like(radius), x),
        _reach_of_cone(at.head, at.tail, head, tail),
    ]
    length = tf.minimum(_TO_THE_BORDER * tf.reduce_min(tf.stack(limits)), 1.0)
    steps = _Cones(x, v, slack, z, head, tail)
    return _Cones(*(now + length * change for now, change in zip(at, steps, strict=True)))


def _complementarity(at: _Cones, radius: tf.Tensor) -> tf.Tensor:
    """0 at a solution."""
    return tf.tensordot(at.slack, at.z, 1) + radius * at.head + tf.tensordot(at.x, at.tail, 1)


def _determinant(head: tf.Tensor, tail: tf.Tensor) -> tf.Tensor:
    norm = tf.norm(tail)
    return tf.maximum((head - norm) * (head + norm), _TINY)


def _reach(x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """How far a step may go before a number is no longer positive."""
    return tf.reduce_min(tf.where(step < 0, -x / tf.where(step < 0, step, -1.0), _FAR))


def _reach_of_cone(head: tf.Tensor, tail: tf.Tensor, step: tf.Tensor, tail_step: tf.Tensor) -> tf.Tensor:
    """How far a step may go before the norm of the tail is larger than the head."""
    root = tf.sqrt(_determinant(head, tail))
    head, tail = head / root, tail / root
    along = head * step - tf.tensordot(tail, tail_step, 1)
    across = tail_step - (step + along) / (head + 1) * tail
    return root / tf.maximum(tf.norm(across) - along, root / _FAR)
