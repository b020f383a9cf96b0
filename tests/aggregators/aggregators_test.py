"""Each aggregator against golden values by hand, the equations of its paper, and independent solvers."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import mtq
from mtq.task_gradients import TaskGradients

SIZES = ((2, 5), (3, 5), (5, 20), (8, 5), (20, 100))
QUICK = ((2, 5), (5, 20), (8, 5))  # with seed 0
CASES = [
    pytest.param((*sizes, seed), marks=() if sizes in QUICK and seed == 0 else pytest.mark.thorough)
    for seed in (0, 1)
    for sizes in SIZES
]
FEWER_TASKS_THAN_NUMBERS = [CASES[n] for n in (0, 1, 2, 4, 5, 6, 7, 9)]


def update_of(aggregator, rows, weights=None, updates=0):
    rows = np.asarray(rows, np.float32)
    if isinstance(aggregator, str):
        aggregator = mtq.aggregators.get(aggregator)
        aggregator.build(*rows.shape)
    weights = np.ones(len(rows), np.float32) if weights is None else np.asarray(weights, np.float32)
    update = traced(aggregator)(tf.constant(rows), tf.constant(weights), updates)
    return update.numpy().astype(np.float64)


def traced(aggregator):
    """As it is in training; without a graph the solvers' loops take ten times as long."""
    return tf.function(
        lambda rows, weights, n: aggregator(TaskGradients([[row] for row in tf.unstack(rows)]), weights, n)[0],
        autograph=False,
    )


def updates_of(name, rows, draws):
    """What is drawn at many updates."""
    aggregator, rows = mtq.aggregators.get(name), np.asarray(rows, np.float32)
    aggregator.build(*rows.shape)
    gradients = TaskGradients([[tf.constant(row)] for row in rows])
    draw = tf.function(lambda n: aggregator(gradients, tf.ones(len(rows)), n)[0], autograph=False)
    return np.array([draw(tf.constant(n, tf.int64)) for n in range(draws)])


def random_rows(tasks, size, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(tasks, size)) * random.uniform(0.3, 3.0, size=(tasks, 1))


def on_simplex(function, gradient, tasks):
    """The minimum of several runs of SciPy's SLSQP."""
    runs = [
        scipy.optimize.minimize(
            function,
            np.random.default_rng(seed).dirichlet(np.ones(tasks)),
            jac=gradient,
            bounds=[(0, 1)] * tasks,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-16, "maxiter": 1000},
        )
        for seed in range(3)
    ]
    return min(runs, key=lambda run: run.fun).x


def projected_on_the_cone(rows, vector):
    """The nearest vector in conflict with no row, by SciPy's non-negative least squares."""
    multipliers, _ = scipy.optimize.nnls(rows.T, -vector, maxiter=10_000)
    return vector + multipliers @ rows


def assert_equal(update, expected, rows):
    size = max(np.abs(expected).max(), 1e-2 * np.abs(rows).max())
    np.testing.assert_allclose(update, expected, atol=1e-4 * size)


@pytest.mark.parametrize("case", CASES)
def test_mgda_is_the_shortest_vector_of_the_convex_hull(case):
    rows = random_rows(*case)
    gram = rows @ rows.T
    shortest = on_simplex(lambda x: x @ gram @ x, lambda x: 2 * gram @ x, len(rows)) @ rows
    assert_equal(update_of("mgda", rows), shortest, rows)


@pytest.mark.parametrize("c", [0.4, *(pytest.param(c, marks=pytest.mark.thorough) for c in (0.0, 0.9))])
@pytest.mark.parametrize("case", CASES)
def test_cagrad_solves_the_dual_problem(case, c):
    rows = random_rows(*case)
    gram, mean = rows @ rows.T, np.ones(len(rows)) / len(rows)
    radius = c * np.linalg.norm(mean @ rows)
    length = lambda x: np.sqrt(x @ gram @ x + 1e-18)  # noqa: E731
    objective = lambda x: x @ gram @ mean + radius * length(x)  # noqa: E731
    w = on_simplex(objective, lambda x: gram @ mean + radius * gram @ x / length(x), len(rows)) @ rows
    update = update_of(mtq.aggregators.CAGrad(c), rows)
    assert_equal(update, mean @ rows + radius * w / np.linalg.norm(w), rows)


@pytest.mark.parametrize("case", CASES)
def test_upgrad_is_the_mean_of_the_projections(case):
    rows = random_rows(*case)
    assert_equal(update_of("upgrad", rows), np.mean([projected_on_the_cone(rows, row) for row in rows], axis=0), rows)


@pytest.mark.parametrize("case", CASES)
def test_dualproj_is_the_projection_of_the_mean(case):
    rows = random_rows(*case)
    assert_equal(update_of("dualproj", rows), projected_on_the_cone(rows, rows.mean(axis=0)), rows)


@pytest.mark.parametrize("case", FEWER_TASKS_THAN_NUMBERS)
def test_the_bargaining_and_fairness_equations(case):
    """`(G c)_i ∝ c_i^(−1/α)` with `update = Σ c_i g_i`."""
    rows = random_rows(*case)
    for aggregator, alpha in (("nash_mtl", 1.0), ("fairgrad", 2.0), (mtq.aggregators.FairGrad(5.0), 5.0)):
        update = update_of(aggregator, rows)
        c = np.linalg.lstsq(rows.T, update, rcond=None)[0]
        assert (c > 0).all()
        constant = rows @ update * c ** (1 / alpha)
        np.testing.assert_allclose(constant, constant.mean(), rtol=1e-4)


@pytest.mark.parametrize("case", FEWER_TASKS_THAN_NUMBERS)
def test_equal_angles(case):
    rows = random_rows(*case)
    norms = np.linalg.norm(rows, axis=1)
    for name in ("config", "imtl_g"):
        update = update_of(name, rows)
        np.testing.assert_allclose(rows @ update / norms, (rows @ update / norms).mean(), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.lstsq(rows.T, update, rcond=None)[0].sum(), 1.0, rtol=1e-4)  # imtl_g's
    config = update_of("config", rows)
    np.testing.assert_allclose(np.linalg.norm(config), (rows @ config).sum() / np.linalg.norm(config), rtol=1e-4)


@pytest.mark.parametrize("case", FEWER_TASKS_THAN_NUMBERS)
def test_aligned_mtl_makes_the_gradients_orthogonal_and_equally_long(case):
    rows = random_rows(*case)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    aligned = values.min() * left @ right
    assert_equal(update_of("aligned_mtl", rows), aligned.mean(axis=0), rows)


def test_pcgrad_by_hand():
    """⟨g_1, g_2⟩ = −1: g_1' = g_1 + g_2 / 2, g_2' = g_2 + g_1."""
    np.testing.assert_allclose(update_of("pcgrad", [[1.0, 0.0], [-1.0, 1.0]]), [0.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(update_of("pcgrad", [[1.0, 0.0], [1.0, 1.0]]), [2.0, 1.0], rtol=1e-6)


def test_pcgrad_draws_an_order_for_each_task():
    rows = random_rows(4, 4, 1)
    drawn = {tuple(np.round(update, 5)) for update in updates_of("pcgrad", rows, draws=200).astype(np.float64)}
    by_order = set()

    def projected(i, order):
        gradient = rows[i].copy()
        for j in order:
            gradient -= min(gradient @ rows[j], 0.0) / (rows[j] @ rows[j]) * rows[j]
        return gradient

    import itertools

    ways = [
        {tuple(projected(i, order)) for order in itertools.permutations([j for j in range(4) if j != i])}
        for i in range(4)
    ]
    for choice in itertools.product(*ways):
        by_order.add(tuple(np.round(np.sum(choice, axis=0), 5)))
    assert len(drawn) > 4
    for update in drawn:
        assert min(np.abs(np.array(update) - np.array(other)).max() for other in by_order) < 1e-4


def test_gradvac_brings_the_cosine_to_its_running_mean():
    aggregator = mtq.aggregators.GradVac(beta=0.5)
    aggregator.build(2, 2)
    aggregator.targets.assign([[0.0, 0.6], [0.6, 0.0]])
    rows = np.array([[2.0, 0.0], [0.0, 1.0]])
    # g_1' = g_1 + 2 · (0.6 · 1 − 0) / 0.8 · g_2 = (2, 1.5), whose cosine with g_2 is 0.6; g_2' = g_2 + 0.75 g_1 / 2.
    np.testing.assert_allclose(update_of(aggregator, rows), [2.75, 2.5], rtol=1e-5)
    np.testing.assert_allclose(aggregator.targets.numpy(), [[0.0, 0.3], [0.3, 0.0]], atol=1e-6)  # 0.6 / 2 + 0 / 2


@pytest.mark.thorough
def test_gradvac_with_targets_of_zero_is_pcgrad():
    rows = random_rows(4, 6, 3)
    np.testing.assert_allclose(update_of("gradvac", rows), update_of("pcgrad", rows), rtol=1e-4)


@pytest.mark.parametrize("absent", ["weight", "gradient"])
def test_gradvac_turns_nothing_towards_a_task_that_is_not_there(absent):
    rows, weights = random_rows(3, 6, 0), [1.0, 1.0, 0.0 if absent == "weight" else 1.0]
    if absent == "gradient":
        rows[2] = 0
    of_two, of_three = mtq.aggregators.GradVac(), mtq.aggregators.GradVac()
    of_two.build(2, 6)
    of_three.build(3, 6)
    of_two.targets.assign(np.full([2, 2], 0.9))
    of_three.targets.assign(np.full([3, 3], 0.9))
    np.testing.assert_allclose(update_of(of_three, rows, weights), update_of(of_two, rows[:2]), rtol=1e-5)
    np.testing.assert_allclose(of_three.targets.numpy()[:2, :2], of_two.targets.numpy(), rtol=1e-6)
    assert (of_three.targets.numpy()[2] == np.float32(0.9)).all()


def test_graddrop_chooses_a_sign_with_the_probability_of_the_paper():
    updates = updates_of("graddrop", [[3.0, 1.0, 2.0], [-1.0, 1.0, 0.0]], draws=2000)
    assert set(updates[:, 0]) == {3.0, -1.0}
    assert np.mean(updates[:, 0] == 3.0) == pytest.approx(0.75, abs=0.03)  # ½ (1 + 2/4)
    assert (updates[:, 1] == 2.0).all()
    assert (updates[:, 2] == 2.0).all()


def test_random_gradient_weighting_has_the_mean_as_its_mean():
    rows = random_rows(3, 4, 0)
    updates = updates_of("random_gradient_weighting", rows, draws=1500)
    np.testing.assert_allclose(updates.mean(axis=0), rows.mean(axis=0), atol=0.05)


@pytest.mark.parametrize(
    "combinations", [[[1, 0], [0, 1], [1, 1]], [[1, 0], [2, 0], [3, 0]], [[1, 0], [0, 1], [1, -2]]]
)
@pytest.mark.parametrize("seed", range(3))
def test_aligned_mtl_of_dependent_gradients(combinations, seed):
    rows = np.array(combinations) @ np.random.default_rng(seed).normal(size=(2, 3000))
    rank = np.linalg.matrix_rank(rows)
    left, singular, right = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    expected = singular[rank - 1] * np.mean(left[:, :rank] @ right[:rank], axis=0)
    assert_equal(update_of("aligned_mtl", rows), expected, rows)


@pytest.mark.parametrize("ratio", [1.0, 1e-3, 1e-7, 1e-12])
@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.5])
def test_mgda_of_gradients_of_very_different_lengths(ratio, cosine):
    rows = np.array([[1.0, 0.0], [cosine * ratio, np.sqrt(1 - cosine**2) * ratio]])
    difference = rows[0] - rows[1]
    first = np.clip(-rows[1] @ difference / (difference @ difference), 0, 1)
    expected = first * rows[0] + (1 - first) * rows[1]
    np.testing.assert_allclose(update_of("mgda", rows), expected, atol=1e-4 * np.linalg.norm(expected))


@pytest.mark.thorough
@pytest.mark.parametrize("alpha", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("decades", [0, 2, 4])
def test_fairgrad_of_gradients_of_different_lengths(alpha, decades):
    for seed in range(5):
        random = np.random.default_rng(seed)
        rows = random.normal(size=(5, 20)) * 10.0 ** -random.uniform(0, decades, size=(5, 1))
        update = update_of(mtq.aggregators.FairGrad(alpha), rows)
        projections = rows @ update / np.linalg.norm(rows, axis=1) / np.linalg.norm(update)
        assert projections.min() > 0
        if decades > 2:
            continue  # the update in float32 no longer tells how much of the smallest is in it
        c = np.linalg.lstsq(rows.T, update, rcond=None)[0]
        constant = rows @ update * np.maximum(c, 0) ** (1 / alpha)
        np.testing.assert_allclose(constant, constant.mean(), rtol=1e-2)


def test_gradvac_does_not_remember_what_is_not_finite():
    aggregator = mtq.aggregators.GradVac(beta=0.5)
    aggregator.build(2, 2)
    update_of(aggregator, [[np.inf, 1.0], [1.0, -1.0]])
    assert np.isfinite(aggregator.targets.numpy()).all()


@pytest.mark.thorough
def test_weights_are_factors_of_the_gradients():
    rows, weights = random_rows(3, 6, 0), np.array([0.5, 2.0, 1.0])
    for name in set(mtq.aggregators.names()) - {"normalized_sum"}:
        weighted = update_of(name, rows * weights[:, None])
        np.testing.assert_allclose(update_of(name, rows, weights), weighted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mtq.aggregators.CAGrad(c=-1.0), "c of CAGrad must be 0 or more. Received: -1.0"),
        (lambda: mtq.aggregators.FairGrad(alpha=0.5), "alpha of FairGrad must be from 1 to 10. Received: 0.5"),
        (lambda: mtq.aggregators.GradVac(beta=2.0), "beta of GradVac must be from 0 to 1. Received: 2.0"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
