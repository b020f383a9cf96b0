"""The four equations of the mission, worked out by hand on a network of two parameters.

Both tasks share one weight θ = 2. Task 1 has a head of its own with the weight h = 3; task 2 has none: its value is
what the shared layer gives. The two parameters are θ and h.

Task 1: q = h·θ·s with h = 3, s = 1, so q = 6; y = 4 (reward 4, terminal). δ = −2, L = 4.
    dL/dθ = 2(q − y)·h·s = 12, dL/dh = 2(q − y)·θ·s = 8.   ‖g_1‖ = √(144 + 64) = √208
Task 2: q = θ·s with s = 5, so q = 10; y = 11 (reward 11, terminal). δ = 1, L = 1.
    dL/dθ = 2(q − y)·s = −10.                               ‖g_2‖ = 10
"""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq

NORM_1 = np.sqrt(208.0)
RATE = 1.0


class OneAction(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(1)


def make_model(loss_weights=None, aggregator="normalized_sum", **options):
    tasks = mtq.TaskSet([mtq.Task("one", OneAction), mtq.Task("two", OneAction)])
    inputs = {name: keras.Input((1,), name=name) for name in tasks}
    shared = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(2.0), name="theta")
    head = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(3.0), name="h")
    network = keras.Model(inputs, {"one": head(shared(inputs["one"])), "two": shared(inputs["two"])})
    model = mtq.MultiTaskDQN(network, tasks, **options)
    model.compile(keras.optimizers.SGD(RATE), loss_weights=loss_weights, aggregator=aggregator)
    return model


def transition(observation, reward, discount=0.0, next_observation=0.0, action=0):
    return mtq.Transition(
        tf.constant([[observation]]),
        tf.constant([action]),
        tf.constant([reward]),
        tf.constant([discount]),
        tf.constant([[next_observation]]),
    )


def batch(one=(1.0, 4.0), two=(5.0, 11.0)):
    return {"one": transition(*one), "two": transition(*two)}


def applied_gradient(model, data=None):
    """What plain gradient descent subtracted, over its rate: the update itself, for θ and h."""
    before = [float(v.numpy().item()) for v in model.network.trainable_variables]
    logs = tf.function(model.train_step)(batch() if data is None else data)
    after = [float(v.numpy().item()) for v in model.network.trainable_variables]
    by_name = {
        v.path.split("/")[0]: (b - a) / RATE
        for v, b, a in zip(model.network.trainable_variables, before, after, strict=True)
    }
    return by_name["theta"], by_name["h"], {name: float(value) for name, value in logs.items()}


def test_losses_and_norms():
    _, _, logs = applied_gradient(make_model())
    assert logs["one/loss"] == pytest.approx(4.0)
    assert logs["two/loss"] == pytest.approx(1.0)
    assert logs["loss"] == pytest.approx(5.0)
    assert logs["one/gradient_norm"] == pytest.approx(NORM_1)
    assert logs["two/gradient_norm"] == pytest.approx(10.0)
    assert logs["one/td_error"] == pytest.approx(2.0)
    assert logs["two/q_mean"] == pytest.approx(10.0)


def test_sum():
    theta, h, _ = applied_gradient(make_model(aggregator="sum"))
    assert theta == pytest.approx(12 - 10, abs=2e-5)
    assert h == pytest.approx(8, abs=2e-5)


def test_weighted_sum():
    theta, h, logs = applied_gradient(make_model({"one": 0.5, "two": 3.0}, "sum"))
    assert theta == pytest.approx(0.5 * 12 - 3 * 10, abs=2e-5)
    assert h == pytest.approx(0.5 * 8, abs=2e-5)
    assert logs["loss"] == pytest.approx(0.5 * 4 + 3 * 1)
    assert logs["two/weight"] == pytest.approx(3.0)


def test_normalized_sum():
    theta, h, _ = applied_gradient(make_model())
    assert theta == pytest.approx(12 / NORM_1 - 1, abs=2e-5)
    assert h == pytest.approx(8 / NORM_1, abs=2e-5)


def test_the_weight_stands_outside_the_norm():
    theta, h, _ = applied_gradient(make_model({"one": 0.5, "two": 3.0}))
    assert theta == pytest.approx(0.5 * 12 / NORM_1 - 3 * 1, abs=2e-5)
    assert h == pytest.approx(0.5 * 8 / NORM_1, abs=2e-5)


def test_normalized_over_the_shared_part_only():
    aggregator = mtq.aggregators.NormalizedSum(scope="shared")
    theta, h, _ = applied_gradient(make_model({"one": 0.5, "two": 3.0}, aggregator))
    assert theta == pytest.approx(0.5 * 12 / 12 - 3 * 1, abs=2e-5)
    assert h == pytest.approx(0.5 * 8, abs=2e-5)


def test_a_zero_gradient_contributes_zero():
    theta, h, logs = applied_gradient(make_model(), batch(one=(1.0, 6.0)))  # q = y = 6
    assert logs["one/gradient_norm"] == 0.0
    assert theta == pytest.approx(-1.0, abs=2e-5)
    assert h == 0.0


def test_all_gradients_zero():
    theta, h, logs = applied_gradient(make_model(), batch((1.0, 6.0), (5.0, 10.0)))
    assert (theta, h) == (0.0, 0.0)
    assert all(np.isfinite(value) for value in logs.values())


def test_bootstrap_comes_from_the_target_network():
    model = make_model(aggregator="sum", target_update_period=2)
    data = {"one": transition(1.0, 4.0, 0.5, next_observation=2.0), "two": transition(5.0, 11.0)}
    # y_1 = 4 + 0.5 · (3·2·2) = 10, δ = 4: L = 16, dL/dθ = 2·(6 − 10)·3 = −24, dL/dh = −16.
    theta, h, logs = applied_gradient(model, data)
    assert logs["one/loss"] == pytest.approx(16.0)
    assert theta == pytest.approx(-24 - 10, abs=5e-5)
    assert h == pytest.approx(-16, abs=5e-5)
    assert model.target_network.get_weights()[0].item() == 2.0  # not yet
    applied_gradient(model, data)
    np.testing.assert_array_equal(model.target_network.get_weights(), model.network.get_weights())


def test_soft_target_update():
    model = make_model(target_update_tau=0.25)
    applied_gradient(model)
    for target, online, initial in zip(
        model.target_network.get_weights(), model.network.get_weights(), [2.0, 3.0], strict=True
    ):
        np.testing.assert_allclose(target, initial + 0.25 * (online - initial), rtol=1e-6)


def test_huber_and_keras_losses():
    model = make_model(aggregator="sum")
    model.compile(keras.optimizers.SGD(RATE), loss="huber", aggregator="sum")
    theta, _, logs = applied_gradient(model)
    assert logs["one/loss"] == pytest.approx(1.5)  # |δ| = 2: 2 − ½
    assert logs["two/loss"] == pytest.approx(0.5)
    assert theta == pytest.approx(1 * 3 - 1 * 5, abs=2e-5)
    model = make_model(aggregator="sum")
    model.compile(keras.optimizers.SGD(RATE), loss=keras.losses.MeanAbsoluteError(), aggregator="sum")
    assert applied_gradient(model)[2]["one/loss"] == pytest.approx(2.0)


def test_defaults_are_the_missions_algorithm():
    model = make_model()
    model.compile()
    assert isinstance(model.aggregator, mtq.aggregators.NormalizedSum)
    assert model.aggregator.scope == "all"
    assert model.td_loss.loss == "squared"
    assert model.task_weights.numpy().tolist() == [1.0, 1.0]
    assert model.target_update_tau is None
    assert not model.double
