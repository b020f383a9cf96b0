"""Tests of the properties of every weighting."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.task_gradients import TaskGradients
from tests.toy import remaining_excess
from tests.toy_environments import Corridor, CountingEnvironment

WEIGHTINGS = {
    **{name: (lambda name=name: mtq.weightings.get(name)) for name in mtq.weightings.names()},
    "constant by task": lambda: mtq.weightings.Constant({"corridor": 0.5, "counting": 2.0}),
    "schedule": lambda: mtq.weightings.Schedule(
        {"corridor": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0), "counting": 2.0}
    ),
}
LOSSES = {
    "usual": [1.0, 2.0],
    "zero": [0.0, 0.0],
    "one zero": [0.0, 3.0],
    "tiny": [1e-12, 1e-10],
    "large": [1e10, 1e12],
    "unequal": [1e-8, 1e8],
}


def make_tasks():
    return mtq.TaskSet(
        [
            mtq.Task("corridor", Corridor, reference_return=1.0),
            mtq.Task("counting", CountingEnvironment, reference_return=10.0),
        ]
    )


@pytest.fixture(params=WEIGHTINGS)
def weighting(request):
    made = WEIGHTINGS[request.param]()
    made.check(make_tasks())
    made.build(2, 3)
    return made


def gradients(losses):
    """Gradients proportional to the losses, for one shared variable and one private variable of each task."""
    rows = tf.constant([[1.0, 2.0, -1.0], [0.5, -2.0, 1.0]]) * tf.convert_to_tensor(losses, tf.float32)[:, None]
    return TaskGradients([[rows[0], tf.ones(1), None], [rows[1], None, tf.ones(1)]])


def weights(weighting, losses=(1.0, 2.0), updates=3):
    tasks = make_tasks()
    initial = tf.constant(weighting.initial_weights(tasks), tf.float32)
    losses = tf.constant(losses, tf.float32)
    return weighting(initial, losses, tf.constant(updates, tf.int64), tasks, gradients(losses))


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES.keys())
def test_finite_weights_for_each_task_time_after_time(weighting, losses):
    for updates in range(5):
        given = weights(weighting, losses, updates)
        assert given.shape == (2,)
        assert np.all(np.isfinite(given) & (given.numpy() >= 0))


def test_a_loss_that_is_not_finite_is_not_remembered(weighting):
    weights(weighting)
    weights(weighting, [np.nan, 1.0])
    for variable in weighting.variables.values():
        assert np.isfinite(variable.numpy()).all() or "return" in variable.name
    assert np.isfinite(weights(weighting)).all()


def test_config_round_trip(weighting):
    again = mtq.weightings.get(mtq.weightings.serialize(weighting))
    again.build(2, 3)
    assert type(again) is type(weighting)
    np.testing.assert_array_equal(weights(again), weights(weighting))


def test_compiles_and_traces_once(weighting):
    traces = []

    @tf.function(jit_compile=True)
    def compiled(losses, updates):
        traces.append(1)
        tasks = make_tasks_once
        initial = tf.constant(weighting.initial_weights(tasks), tf.float32)
        return weighting(initial, losses, updates, tasks, gradients(losses))

    make_tasks_once = make_tasks()
    start = {name: variable.numpy() for name, variable in weighting.variables.items()}
    in_graph = [compiled(tf.constant([1.0, 2.0 + n]), tf.constant(n, tf.int64)).numpy() for n in range(3)]
    for name, value in start.items():
        weighting.variables[name].assign(value)
    eagerly = [weights(weighting, [1.0, 2.0 + n], n).numpy() for n in range(3)]
    np.testing.assert_allclose(in_graph, eagerly, rtol=1e-4)
    assert len(traces) == 1


@pytest.mark.thorough
def test_descent_comes_near_the_least_summed_loss_of_a_toy(weighting):
    tasks, aggregator = make_tasks(), mtq.aggregators.get("pcgrad")
    aggregator.build(2, 3)
    initial = tf.constant(weighting.initial_weights(tasks), tf.float32)
    weigh = lambda losses, n, gradients: weighting(initial, losses, n, tasks, gradients)  # noqa: E731
    is_schedule = isinstance(weighting, mtq.weightings.Schedule)  # one task's weight is 0 after ten updates
    assert remaining_excess(aggregator, weigh) < (0.5 if is_schedule else 0.03)


def test_every_name_makes_one(two_tasks):
    for name in mtq.weightings.names():
        assert isinstance(mtq.weightings.get(name), mtq.weightings.Weighting)
    with pytest.raises(ValueError, match="Did you mean 'constant'"):
        mtq.weightings.get("constnat")
