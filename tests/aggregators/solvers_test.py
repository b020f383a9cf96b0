"""All solvers on gradients that nearly cancel and whose lengths differ by up to 1e7, against SciPy's in float64."""

import functools

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import mtq
from mtq.aggregators.cone_solver import _by_active_set
from mtq.aggregators.solvers import positive_definite_factor
from mtq.task_gradients import TaskGradients

SIZE = 12
SHARP = 1e-4


@functools.cache
def made(name, *settings):
    """One aggregator for all tests, or each would trace its own anew."""
    return mtq.aggregators.get(name) if isinstance(name, str) else name(*settings)


@functools.cache
def compiled(aggregator, num_tasks):
    """One trace for a number of tasks."""
    return tf.function(
        lambda rows: aggregator(TaskGradients([[row] for row in tf.unstack(rows)]), tf.ones(num_tasks))[0],
        autograph=False,
    )


def update_of(aggregator, rows):
    padded = np.zeros((len(rows), SIZE), np.float32)
    padded[:, : rows.shape[1]] = rows
    update = compiled(aggregator, len(rows))(tf.constant(padded)).numpy().astype(np.float64)
    assert np.isfinite(update).all()
    return update[: rows.shape[1]]


def nearly_cancelling(random, tasks, size, ratio):
    """Rows, of which one or two pairs have cosines down to -0.9999, float32 numbers in float64."""
    rows = random.normal(size=(tasks, size))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for i in range(min(tasks - 1, random.integers(1, 3))):
        cosine = -(1 - 10.0 ** random.uniform(-4, -0.5))
        across = random.normal(size=size)
        across -= across @ rows[i] * rows[i]
        rows[i + 1] = cosine * rows[i] + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)
    rows *= 10.0 ** -random.uniform(0, np.log10(ratio), size=(tasks, 1)) if ratio > 1 else 1.0
    return rows[random.permutation(tasks)].astype(np.float32).astype(np.float64)


def nearest(rows, bounds):
    """The shortest x with `rows x ≥ bounds`, by non-negative least squares; None if there is none."""
    if (bounds <= 0).all():
        return np.zeros(rows.shape[1])
    matrix, right = np.vstack([rows.T, bounds]), np.append(np.zeros(rows.shape[1]), 1.0)
    y, distance = scipy.optimize.nnls(matrix, right, maxiter=10_000)
    residual = matrix @ y - right
    return None if distance < 1e-12 else -residual[:-1] / residual[-1]


def largest_smallest_product(rows, c):
    """`max_d min_i ⟨g_i, d⟩` for `‖d − g_0‖ ≤ c ‖g_0‖`, by bisection."""
    lengths = np.linalg.norm(rows, axis=1)
    units, mean = rows / lengths[:, None], rows.mean(axis=0)
    size, bounds = np.linalg.norm(mean), lengths.min() / lengths
    products = units @ mean / size
    low, high = np.min(products / bounds), np.min((products + c) / bounds)
    for _ in range(60):  # halvings, more than float64 has digits
        middle = (low + high) / 2
        x = nearest(units, middle * bounds - products)
        low, high = (low, middle) if x is None or np.linalg.norm(x) > c else (middle, high)
    return low * size * lengths.min()


def error_of_cagrad(rows, c, aggregator):
    """By how much the worst-off task is worse off than it could be, and how much too long the step is."""
    update, mean = update_of(aggregator, rows), rows.mean(axis=0)
    size = np.linalg.norm(mean)
    # An update of float32 numbers cannot be told from others that differ by their last digits.
    scale = max(size**2, 3e-3 * size * np.linalg.norm(rows, axis=1).min())
    too_long = np.linalg.norm(update - mean) / (c * size) - 1
    return (largest_smallest_product(rows, c) - np.min(rows @ update)) / scale, too_long


def check_cagrad(draws, sizes, ratios, tolerance, numbers=range(3, 9)):
    random = np.random.default_rng(0)
    for draw in range(draws):
        tasks = numbers[draw % len(numbers)]
        c = (0.4, 0.9)[draw // len(numbers) % 2]
        size = int(random.choice(sizes)) if np.ndim(sizes) else max(sizes, tasks)
        rows = nearly_cancelling(random, tasks, size, float(random.choice(ratios)))
        short, too_long = error_of_cagrad(rows, c, made(mtq.aggregators.CAGrad, c))
        assert short < tolerance, (draw, tasks, size, c)
        assert too_long < 2e-3, (draw, tasks, size, c)


def test_case_52():
    rows = np.array([[2.4, -1.4, -0.5], [-2.3, 1.2, 0.5], [1.7, 1.6, 0.9]])
    products = rows @ update_of(made(mtq.aggregators.CAGrad, 0.4), rows)
    np.testing.assert_allclose(products, [-0.02374, -0.02374, 1.4881], atol=1e-4)


def test_cagrad_of_nearly_cancelling_gradients():
    check_cagrad(24, 8, [1, 1e3, 1e7], SHARP, numbers=(3, 8))


@pytest.mark.parametrize(("tasks", "size"), [(5, 2), (8, 4), pytest.param(20, 8, marks=pytest.mark.thorough)])
def test_cagrad_of_more_gradients_than_dimensions(tasks, size):
    random, aggregator = np.random.default_rng(3), mtq.aggregators.CAGrad(0.4)
    for ratio in (1, 1e3, 1e7) * 4:
        rows = nearly_cancelling(random, tasks, size, ratio)
        short, too_long = error_of_cagrad(rows, 0.4, aggregator)
        assert short < 5e-3, (ratio, short)
        assert too_long < 2e-3, (ratio, too_long)


@pytest.mark.parametrize("tasks", [2, 5, 20])
def test_ordinary_gradients_need_no_interior_point(tasks):
    random = np.random.default_rng(4)
    solve = tf.function(_by_active_set, autograph=False)
    for size in (tasks + 2, 10 * tasks) * 10:
        rows = random.normal(size=(tasks, size)) * 10 ** random.uniform(-1, 0, size=(tasks, 1))
        lengths = np.linalg.norm(rows, axis=1)
        units, mean = rows / lengths[:, None], rows.mean(axis=0)
        products, bounds = units @ mean / np.linalg.norm(mean), lengths.min() / lengths
        first = np.argmin((products + 0.4) / bounds)
        bounds /= bounds[first]
        y, is_solved = solve(
            *map(tf.constant, (units @ units.T, products, bounds)), tf.constant(0.4, tf.float64), first
        )
        assert is_solved
        assert (y.numpy() >= 0).all()
        reached = np.min((units @ (y.numpy() @ units) + products) / bounds)
        further = nearest(units, (reached + 1e-5) * bounds - products)  # who reaches more leaves the ball
        assert np.linalg.norm(y.numpy() @ units) <= 0.4 * (1 + 1e-8)
        assert further is None or np.linalg.norm(further) > 0.4


def test_the_factor_of_noisy_dependent_cosines():
    random = np.random.default_rng(5)
    for _ in range(20):
        units = random.normal(size=(20, 8))
        units = (units / np.linalg.norm(units, axis=1, keepdims=True)).astype(np.float32)
        cosines = (units @ units.T).astype(np.float64)
        factor = positive_definite_factor(tf.constant(cosines), 1e-6).numpy()
        np.testing.assert_allclose(factor @ factor.T, cosines, atol=5e-6)


@pytest.mark.slow
def test_cagrad_of_a_thousand_draws():
    check_cagrad(1_000, 8, [1, 1e3, 1e7], SHARP)


@pytest.mark.parametrize("c", [0.0, 1e-6, 0.4, 2.0, 10.0, 1e6])
@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 0, 0], [-1, 0, 0], [0, 0, 1]],
        [[1.0, 0, 0], [-2, 0, 0], [0, 0, 1]],
        [[1.0, 2, 3]] * 3,
        [[1.0, 2, 3], [0, 0, 0], [-1, 0, 1]],
        [[1.0, 2, 3], [1 + 1e-6, 2, 3], [-1, -2, -3.0001]],
        [[0.0, 0, 0]] * 3,
    ],
)
def test_cagrad_of_degenerate_gradients_stays_in_its_ball(rows, c):
    rows = np.array(rows)
    update = update_of(made(mtq.aggregators.CAGrad, c), rows)
    there = rows[np.any(rows != 0, axis=1)]
    mean = there.mean(axis=0) if len(there) else rows[0]
    assert np.linalg.norm(update - mean) <= 1.01 * c * np.linalg.norm(mean) + 1e-6
    if len(there):
        assert np.min(there @ update) >= np.min(there @ mean) - 1e-6


def test_cagrad_takes_no_infinite_c():
    with pytest.raises(ValueError, match=r"c of CAGrad must be finite and 0 or more\. Received: inf"):
        mtq.aggregators.CAGrad(float("inf"))


def projected(rows, vector):
    multipliers, _ = scipy.optimize.nnls(rows.T, -vector, maxiter=10_000)
    return vector + multipliers @ rows


def balanced(rows, power):
    """`(C x)_i = k_i x_i^(−p)` by Newton's method in float64; the direction of the update."""
    lengths = np.linalg.norm(rows, axis=1)
    units, k = rows / lengths[:, None], (lengths / lengths.max()) ** (power - 1)
    cosines, x = units @ units.T, k ** (1 / (1 + power))
    for _ in range(500):
        step = np.linalg.solve(cosines + np.diag(power * k * x ** (-power - 1)), k * x**-power - cosines @ x)
        down = step < 0
        x = x + min(1, 0.95 * np.min(-x[down] / step[down], initial=np.inf)) * step
    np.testing.assert_allclose(cosines @ x * x**power / k, 1.0, atol=1e-8)
    return x @ units / np.linalg.norm(x @ units)


def expected_of(name, rows):
    lengths = np.linalg.norm(rows, axis=1)
    units = rows / lengths[:, None]
    if name == "mgda":
        x = nearest(units, lengths.min() / lengths)
        return x / (x @ x) * lengths.min(), lengths.min()
    if name == "dualproj":
        return projected(units, rows.mean(axis=0)), lengths.max()
    if name == "upgrad":
        return np.mean([projected(units, row) for row in rows], axis=0), lengths.max()
    angles = np.linalg.solve(units @ units.T, np.ones(len(rows)))
    direction = angles @ units / np.linalg.norm(angles @ units)
    if name == "config":
        return direction * np.sum(rows @ direction), np.sum(rows @ direction)
    expected = angles @ units / np.sum(angles / lengths)
    return expected, np.linalg.norm(expected)


@pytest.mark.parametrize("ratio", [1, 1e3, 1e7])
@pytest.mark.parametrize("name", ["mgda", "dualproj", "upgrad", "config", "imtl_g"])
def test_of_nearly_cancelling_gradients(name, ratio):
    random, aggregator = np.random.default_rng(1), made(name)
    for tasks in (3, 8) * 9:
        rows = nearly_cancelling(random, tasks, SIZE, ratio)
        expected, scale = expected_of(name, rows)
        assert np.linalg.norm(update_of(aggregator, rows) - expected) < 2e-3 * scale


@pytest.mark.parametrize("ratio", [1, 1e3, 1e7])
@pytest.mark.parametrize("alpha", [1.0, 2.0, 10.0])
def test_the_balance_of_nearly_cancelling_gradients(alpha, ratio):
    random = np.random.default_rng(2)
    aggregator = made("nash_mtl") if alpha == 1 else made(mtq.aggregators.FairGrad, alpha)
    for tasks in (3, 8) * 6:
        rows = nearly_cancelling(random, tasks, SIZE, ratio)
        update = update_of(aggregator, rows)
        assert np.linalg.norm(update / np.linalg.norm(update) - balanced(rows, 1 / alpha)) < 2e-3
        if alpha == 1:
            longest = np.linalg.norm(rows, axis=1).max()
            np.testing.assert_allclose(np.linalg.norm(update), np.sqrt(tasks) * longest, rtol=1e-3)


@pytest.mark.parametrize(("tasks", "size"), [(3, 8), (8, 12), (8, 4)])
def test_aligned_mtl_of_unequal_lengths(tasks, size):
    random, aggregator = np.random.default_rng(6), mtq.aggregators.AlignedMTL()
    for ratio, tolerance in [(1, 1e-3), (1e3, 1e-3), (1e5, 1e-3), (1e7, 0.2)] * 5:
        rows = nearly_cancelling(random, tasks, size, ratio)
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        expected = (left * values[-1] / values) @ left.T.sum(axis=1) / tasks @ rows
        error = np.linalg.norm(update_of(aggregator, rows) - expected)
        assert error < tolerance * np.linalg.norm(expected), (ratio, error)


@pytest.mark.parametrize("short", [1.0, 1e-4, 1e-10, 1e-20])
def test_aligned_mtl_of_a_short_gradient_beside_dependent_long_ones(short):
    random, aggregator = np.random.default_rng(7), made("aligned_mtl")
    for _ in range(20):
        rows = random.normal(size=(3, SIZE)) * [[1], [3], [short]]
        for rank in (3, 2):
            if rank == 2:
                rows[1] = 3 * rows[0]
            rows = rows.astype(np.float32).astype(np.float64)  # no longer quite of rank 2
            left, values, right = np.linalg.svd(rows, full_matrices=False)
            expected = values[rank - 1] * np.mean(left[:, :rank] @ right[:rank], axis=0)
            error = np.linalg.norm(update_of(aggregator, rows) - expected)
            assert error < 1e-7 * np.linalg.norm(rows, axis=1).max()
            assert error < 1e-3 * np.linalg.norm(expected) or short < 1e-4
