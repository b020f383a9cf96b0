"""Each weighting by hand, and what its equations come to."""

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.task_gradients import TaskGradients

W = mtq.weightings


def weigh(weighting, losses, norms=(1.0, 1.0), updates=0):
    gradients = TaskGradients([[tf.constant([norm, 0.0])] for norm in norms])
    return weighting.weigh(tf.constant(losses, tf.float32), tf.constant(updates, tf.int64), gradients).numpy()


def built(weighting, num_tasks=2, num_shared=2):
    weighting.build(num_tasks, num_shared)
    return weighting


def test_geometric_loss_is_the_gradient_of_the_geometric_mean():
    np.testing.assert_allclose(
        weigh(W.GeometricLoss(), [1.0, 4.0]), [1.0, 0.25], rtol=1e-6
    )  # √4 / (2 · 1), √4 / (2 · 4)


def test_smooth_tchebycheff_is_the_gradient_of_the_smooth_maximum():
    losses, preferences, mu, ideal = tf.Variable([1.0, 2.0, 10.0]), tf.constant([2.0, 0.5, 0.0]), 0.5, 0.1
    with tf.GradientTape() as tape:
        value = mu * tf.reduce_logsumexp(preferences * (losses - ideal) / mu)
    weights = W.SmoothTchebycheff(mu, ideal)(preferences, losses, tf.constant(0, tf.int64), None)
    np.testing.assert_allclose(weights, tape.gradient(value, losses), rtol=1e-5)
    assert weights[2] == 0
    assert weights[0] > 1.5  # the loss of a task that does not count takes nothing from the others


@pytest.mark.parametrize(
    ("make", "state", "start"), [(W.IMTLL, "log_scales", 80.0), (W.Uncertainty, "log_variances", -80.0)]
)
def test_the_weight_of_a_loss_that_stays_zero_has_an_end(make, state, start):
    weighting = built(make())
    getattr(weighting, state).assign([start, 0.0])
    before = weigh(weighting, [0.0, 1.0])[0]
    assert weigh(weighting, [0.0, 1.0])[0] < before


def test_uncertainty_and_imtl_l_reach_their_optima():
    uncertainty, imtl = built(W.Uncertainty(0.05)), built(W.IMTLL(0.05))
    for _ in range(2000):
        first, second = weigh(uncertainty, [0.5, 4.0]), weigh(imtl, [0.5, 4.0])
    np.testing.assert_allclose(first, [1.0, 0.125], rtol=1e-3)  # 1 / (2 L)
    np.testing.assert_allclose(second, [2.0, 0.25], rtol=1e-3)  # 1 / L


def test_uncertainty_takes_the_paper_s_first_step():
    uncertainty = built(W.Uncertainty(0.1))
    np.testing.assert_allclose(weigh(uncertainty, [0.4, 1.0]), [0.5, 0.5])
    np.testing.assert_allclose(uncertainty.log_variances.numpy(), [-0.03, 0.0], atol=1e-7)  # −0.1 (½ − ½ · 0.4)


def test_dynamic_weight_average_by_hand():
    average = built(W.DynamicWeightAverage(temperature=2.0, period=2))
    for losses in ([4.0, 1.0], [2.0, 1.0], [1.0, 1.0], [2.0, 1.0]):  # means of periods: [3, 1] and [1.5, 1]
        np.testing.assert_allclose(weigh(average, losses), [1.0, 1.0], rtol=1e-6)
    rates = np.exp(np.array([0.5, 1.0]) / 2)
    np.testing.assert_allclose(weigh(average, [9.0, 9.0]), 2 * rates / rates.sum(), rtol=1e-5)


def test_gradnorm_by_hand():
    """Sizes 1 and 3, mean 2; at first the pace is 1 for both: the first weight rises, the second falls."""
    gradnorm = built(W.GradNorm(alpha=1.0, learning_rate=0.1))
    np.testing.assert_allclose(weigh(gradnorm, [1.0, 1.0], [1.0, 3.0]), [1.0, 1.0])
    # steps −1/2 and 3/2, the latter cut off at 1: 1.05 and 0.9, scaled by 2 / 1.95
    np.testing.assert_allclose(gradnorm.weights.numpy(), [1.05 * 2 / 1.95, 0.9 * 2 / 1.95], rtol=1e-5)
    weigh(gradnorm, [0.5, 1.0], [1.0, 3.0])
    np.testing.assert_allclose(gradnorm.first_losses.numpy(), [1.0, 1.0])  # the initial losses are kept


def test_gradnorm_favours_the_slower_task():
    gradnorm = built(W.GradNorm(alpha=1.5, learning_rate=0.02))
    for n in range(300):
        given = weigh(gradnorm, [1.0, 1.0 / (1 + n)], [1.0, 1.0])
    assert given[0] > 1.5
    np.testing.assert_allclose(given.sum(), 2.0, rtol=1e-5)


def test_db_mtl_brings_the_gradients_of_log_losses_to_the_longest():
    given = weigh(W.DBMTL(), [2.0, 0.5], [4.0, 3.0])  # norms of ∇ log L: 2 and 6
    np.testing.assert_allclose(given * [4.0, 3.0], [6.0, 6.0], rtol=1e-6)


def test_famo_by_hand():
    famo = built(W.FAMO(learning_rate=0.1, gamma=0.0))
    np.testing.assert_allclose(weigh(famo, [1.0, 4.0]), [0.8, 0.2], rtol=1e-6)  # ½/1 and ½/4, scaled to sum to one
    given = weigh(famo, [0.5, 4.0])  # the first has fallen by log 2: less weight for it; Adam's first step is the rate
    z = np.exp([-0.1, 0.1]) / np.exp([-0.1, 0.1]).sum()
    expected = z / [0.5, 4.0]
    np.testing.assert_allclose(given, expected / expected.sum(), rtol=1e-4)


def test_excess_mtl_by_hand():
    """The first gradients: E = g² / √(g²) = |g|, relative to itself 1: equal weights. Then the steeper one gains."""
    excess = built(W.ExcessMTL(step_size=0.5))
    np.testing.assert_allclose(weigh(excess, [1.0, 1.0], [1.0, 2.0]), [1.0, 1.0], rtol=1e-5)
    given = weigh(excess, [1.0, 1.0], [1.0, 4.0])  # E: 1 / √2 of 1, and 16 / √20 of 2
    risks = 0.5 * np.array([1 / np.sqrt(2), 16 / np.sqrt(20) / 2])
    expected = 2 * np.exp(risks) / np.exp(risks).sum()
    np.testing.assert_allclose(given, expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e6])
def test_excess_mtl_does_not_depend_on_the_losses_scale(scale):
    excess, scaled = built(W.ExcessMTL(step_size=0.5)), built(W.ExcessMTL(step_size=0.5))
    for norms in ([1.0, 2.0], [1.0, 4.0], [0.5, 3.0]):
        expected = weigh(excess, [1.0, 1.0], norms)
        given = weigh(scaled, [scale, scale], [scale * norm for norm in norms])
        np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.mark.thorough
def test_random_weights_are_one_on_average_and_a_function_of_the_seed():
    drawn = np.array([weigh(W.RandomLossWeighting(seed=1), [1.0, 1.0], updates=n) for n in range(500)])
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, 1.0], atol=0.06)
    np.testing.assert_allclose(drawn.sum(axis=1), 2.0, rtol=1e-5)
    np.testing.assert_array_equal(drawn[7], weigh(W.RandomLossWeighting(seed=1), [1.0, 1.0], updates=7))
    other = weigh(W.RandomLossWeighting(seed=2), [1.0, 1.0], updates=7)
    assert (drawn[7] != other).all()
    begun_anew = W.RandomLossWeighting(seed=1)
    begun_anew.use_stream(1)  # as that of the next seed
    np.testing.assert_array_equal(weigh(begun_anew, [1.0, 1.0], updates=7), other)
    begun_anew.use_stream(0)
    np.testing.assert_array_equal(weigh(begun_anew, [1.0, 1.0], updates=7), drawn[7])


def test_another_stream_must_be_chosen_before_the_first_numbers():
    weighting = W.RandomLossWeighting(seed=1)
    weigh(weighting, [1.0, 1.0])
    with pytest.raises(RuntimeError, match="must be called before it first draws"):
        weighting.use_stream(1)


def in_graph_tasks(**options):
    return mtq.TaskSet(
        [
            mtq.Task("cart_pole", "in_graph/CartPole", reference_return=500.0),
            mtq.Task("chain", "in_graph/Chain", **{"reference_return": 1.0, **options}),
        ]
    )


def test_return_progress_favours_the_task_that_lags_behind():
    progress = built(W.ReturnProgress(temperature=0.5))
    progress.check(in_graph_tasks())
    progress.observe_returns({"cart_pole": 20.0, "chain": float("nan")})
    np.testing.assert_allclose(weigh(progress, [1.0, 1.0]), [1.0, 1.0])
    progress.observe_returns({"cart_pole": 260.0, "chain": 0.0})
    progress.observe_returns({"cart_pole": 260.0, "chain": 2.0})  # half of the way, and beyond the reference
    expected = 2 * np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    np.testing.assert_allclose(weigh(progress, [1.0, 1.0]), expected, rtol=1e-5)


def test_fit_tells_return_progress_the_returns_or_asks_for_them():
    tasks = in_graph_tasks()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8])), tasks)
    model.compile("adam", loss_weights="return_progress", steps_per_execution=50)
    experience = mtq.Experience(tasks, model, warmup_steps=50)
    dataset = experience.dataset(8)
    model.fit(dataset, steps_per_epoch=100, epochs=2, verbose=0, callbacks=[mtq.callbacks.TrainingReturns(experience)])
    assert np.isfinite(model.weighting.first_returns.numpy()).all()
    with pytest.raises(ValueError, match=r"ReturnProgress must receive the tasks' returns.*TrainingReturns"):
        model.fit(dataset, steps_per_epoch=50, verbose=0)
    with pytest.raises(ValueError, match=r"reference_return must be given .* task 'chain'"):
        W.get("return_progress").check(in_graph_tasks(reference_return=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: W.DynamicWeightAverage(period=0), "period of DynamicWeightAverage must be an integer of at least 1"),
        (lambda: W.GradNorm(alpha=-1), "alpha of GradNorm must be 0 or more. Received: -1"),
        (lambda: W.FAMO(gamma=-1), "gamma of FAMO must be 0 or more. Received: -1"),
        (lambda: W.SmoothTchebycheff(mu=0), "mu of SmoothTchebycheff must be above 0. Received: 0"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
