"""What every weighting promises."""

import mtq

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

WEIGHTINGS = {
    "constant": mtq.weightings.Constant(),
    "constant by task": mtq.weightings.Constant({"corridor": 0.5, "counting": 2.0}),
    "schedule": mtq.weightings.Schedule(
        {"corridor": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0), "counting": 2.0}
    ),
}


@pytest.fixture(params=WEIGHTINGS)
def weighting(request):
    return WEIGHTINGS[request.param]


def weights(weighting, tasks, updates=3):
    initial = tf.constant(weighting.initial_weights(tasks), tf.float32)
    return weighting(initial, tf.constant([1.0, 2.0]), tf.constant(updates, tf.int64), tasks)


def test_one_finite_weight_for_each_task(weighting, two_tasks):
    weighting.check(two_tasks)
    given = weights(weighting, two_tasks)
    assert given.shape == (2,)
    assert np.all(np.isfinite(given) & (given.numpy() >= 0))


def test_config_round_trip(weighting, two_tasks):
    again = mtq.weightings.get(keras.saving.serialize_keras_object(weighting), two_tasks)
    assert type(again) is type(weighting)
    np.testing.assert_array_equal(weights(again, two_tasks), weights(weighting, two_tasks))


def test_compiles(weighting, two_tasks):
    compiled = tf.function(lambda: weights(weighting, two_tasks), jit_compile=True)
    np.testing.assert_allclose(compiled(), weights(weighting, two_tasks), rtol=1e-6)


def test_every_name_makes_one(two_tasks):
    for name in mtq.weightings.names():
        assert isinstance(mtq.weightings.get(name, two_tasks), mtq.weightings.Weighting)
    with pytest.raises(ValueError, match="Did you mean 'constant'"):
        mtq.weightings.get("constnat", two_tasks)
