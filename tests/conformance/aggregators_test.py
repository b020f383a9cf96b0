"""What every aggregator promises; a new one is found here by its name."""

import mtq

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from mtq.task_gradients import TaskGradients

SCALES = [1e-12, 1.0, 1e12]


@pytest.fixture(params=mtq.aggregators.names())
def aggregator(request):
    return mtq.aggregators.get(request.param)


def gradients(rows, scale=1.0):
    """Tasks' gradients over two shared variables and one private one each, from `[T, 5]` numbers."""
    rows = np.asarray(rows, np.float32) * np.float32(scale)
    tasks = []
    for i, row in enumerate(rows):
        private = [None] * len(rows)
        private[i] = tf.constant(row[4:])
        tasks.append([tf.constant(row[:2]), tf.constant(row[2:4].reshape(2, 1)), *private])
    return TaskGradients(tasks)


def random_rows(tasks, seed=0):
    return np.random.default_rng(seed).normal(size=(tasks, 5))


HARD = {
    "random": random_rows(3),
    "one task": random_rows(1),
    "all zero": np.zeros((3, 5)),
    "one zero": np.vstack([random_rows(2), np.zeros((1, 5))]),
    "opposed": np.vstack([random_rows(1), -random_rows(1)]),
    "equal": np.vstack([random_rows(1)] * 3),
    "more tasks than numbers": random_rows(8),
    "very unequal": random_rows(2) * [[1e-6], [1e6]],
}


@pytest.mark.parametrize("rows", HARD.values(), ids=HARD.keys())
@pytest.mark.parametrize("scale", SCALES)
def test_finite_and_of_the_right_shapes(aggregator, rows, scale):
    given = gradients(rows, scale)
    update = aggregator(given, tf.ones(len(rows)))
    for i, tensor in enumerate(update):
        like = next(task[i] for task in given.by_task if task[i] is not None)
        assert tensor.shape == like.shape
        assert np.all(np.isfinite(tensor))


def test_permuting_the_tasks_changes_nothing(aggregator):
    rows, order = random_rows(4), [2, 0, 3, 1]
    weights = tf.constant([1.0, 2.0, 0.5, 3.0])
    first = aggregator(gradients(rows), weights)
    second = aggregator(gradients(rows[order]), tf.gather(weights, order))
    for a, b in zip(first[:2], second[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for place, task in enumerate(order):
        np.testing.assert_allclose(first[2 + task], second[2 + place], rtol=1e-5)


def test_a_task_of_weight_zero_has_no_say(aggregator):
    rows = random_rows(3)
    with_third = aggregator(gradients(rows), tf.constant([1.0, 2.0, 0.0]))
    without = aggregator(gradients(rows[:2]), tf.constant([1.0, 2.0]))
    for a, b in zip(with_third[:4], without, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(with_third[4], [0.0])


@pytest.mark.parametrize("scope", ["all", "shared"])
def test_config_round_trip(aggregator, scope):
    aggregator = type(aggregator)(scope=scope)
    again = mtq.aggregators.deserialize(mtq.aggregators.serialize(aggregator))
    assert type(again) is type(aggregator)
    assert again.get_config() == aggregator.get_config()
    assert again.scope == scope


def test_shared_scope_gives_private_variables_their_weighted_gradient(aggregator):
    rows = random_rows(2)
    update = type(aggregator)(scope="shared")(gradients(rows), tf.constant([0.5, 3.0]))
    np.testing.assert_allclose(update[2], 0.5 * rows[0, 4:], rtol=1e-5)
    np.testing.assert_allclose(update[3], 3.0 * rows[1, 4:], rtol=1e-5)


def test_compiles_and_traces_once(aggregator):
    traces = []

    def of_two_tasks(shared, private):
        return TaskGradients([[shared[0], private[0], None], [shared[1], None, private[1]]])

    @tf.function(jit_compile=True)
    def compiled(shared, private, weights):
        traces.append(1)
        return aggregator(of_two_tasks(shared, private), weights)

    for seed in range(2):
        rows = random_rows(2, seed).astype(np.float32)
        weights = tf.constant([1.0, 2.0 + seed])
        shared, private = tf.constant(rows[:, :4]), tf.constant(rows[:, 4:])
        update = compiled(shared, private, weights)
        for a, b in zip(update, aggregator(of_two_tasks(shared, private), weights), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    assert len(traces) == 1


def test_the_summed_loss_of_a_toy_falls(aggregator, make_model, two_tasks):
    from tests.batches import random_batch

    model = make_model(compile_options={"optimizer": keras.optimizers.Adam(3e-3), "aggregator": aggregator})
    step, batch, losses = tf.function(model.train_step), random_batch(two_tasks, 16), []
    for _ in range(200):
        model.task_metrics.reset_state()
        losses.append(float(step(batch)["loss"]))
    assert losses[-1] < 0.5 * losses[0]


def test_an_unknown_scope():
    with pytest.raises(ValueError, match="scope of the aggregator must be one of"):
        mtq.aggregators.Sum(scope="head")
