import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch
from tests.toy_environments import Corridor


def weights_of(model):
    return [v.numpy() for v in model.network.trainable_variables]


def numpy_gradients(model, batch, double=False):
    """Each task's gradient by NumPy alone: encoder, backbone and head are dense, the first two with a ReLU."""
    w = {v.path: v.numpy().astype(np.float64) for v in model.network.variables}
    target = dict(zip(w, [v.astype(np.float64) for v in model.target_network.get_weights()], strict=True))

    def path(v, name, x):
        pre_1 = x @ v[f"{name}_encoder/kernel"] + v[f"{name}_encoder/bias"]
        h_1 = np.maximum(pre_1, 0)
        pre_2 = h_1 @ v["backbone/dense_0/kernel"] + v["backbone/dense_0/bias"]
        h_2 = np.maximum(pre_2, 0)
        return h_1, h_2, h_2 @ v[f"{name}_q_values/kernel"] + v[f"{name}_q_values/bias"]

    gradients = {}
    for name, t in batch.items():
        rows = np.arange(len(t.action))
        x, a = t.observation.numpy().astype(np.float64), t.action.numpy()
        next_q = path(target, name, t.next_observation.numpy())[2]
        selector = path(w, name, t.next_observation.numpy())[2] if double else next_q
        y = t.reward.numpy() + t.discount.numpy() * next_q[rows, selector.argmax(-1)]
        h_1, h_2, q = path(w, name, x)
        d_q = np.zeros_like(q)
        d_q[rows, a] = 2 * (q[rows, a] - y) / len(a)
        d_2 = (d_q @ w[f"{name}_q_values/kernel"].T) * (h_2 > 0)
        d_1 = (d_2 @ w["backbone/dense_0/kernel"].T) * (h_1 > 0)
        gradients[name] = {
            f"{name}_q_values/kernel": h_2.T @ d_q,
            f"{name}_q_values/bias": d_q.sum(0),
            "backbone/dense_0/kernel": h_1.T @ d_2,
            "backbone/dense_0/bias": d_2.sum(0),
            f"{name}_encoder/kernel": x.T @ d_1,
            f"{name}_encoder/bias": d_1.sum(0),
        }
    return gradients


def numpy_update(model, batch, weights, aggregator, double=False):
    total = {v.path: np.zeros(v.shape) for v in model.network.trainable_variables}
    for (_, gradient), weight in zip(numpy_gradients(model, batch, double).items(), weights, strict=True):
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        shared_norm = np.sqrt(sum((g**2).sum() for path, g in gradient.items() if path.startswith("backbone")))
        for path, g in gradient.items():
            if aggregator == "sum" or (aggregator == "shared" and not path.startswith("backbone")):
                total[path] += weight * g
            else:
                total[path] += weight * g / (shared_norm if aggregator == "shared" else norm)
    return total


@pytest.mark.parametrize("aggregator", ["sum", "normalized_sum", "shared"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("size", [1, 32])
def test_the_update_equals_a_numpy_reference(make_model, two_tasks, monkeypatch, aggregator, double, size):
    made = mtq.aggregators.NormalizedSum(scope="shared") if aggregator == "shared" else aggregator
    model = make_model(
        double=double, compile_options={"aggregator": made, "loss_weights": {"corridor": 0.7, "counting": 1.9}}
    )
    model.target_network.set_weights([w + 0.1 for w in model.target_network.get_weights()])
    batch = random_batch(two_tasks, size)
    expected = numpy_update(model, batch, [0.7, 1.9], aggregator, double)
    applied = {}

    def record(gradients, variables):
        applied.update({v.path: gradient for v, gradient in zip(variables, gradients, strict=True)})

    monkeypatch.setattr(model.optimizer, "apply", record)
    model.train_step(batch)
    for path, gradient in applied.items():
        np.testing.assert_allclose(gradient, expected[path], atol=1e-6, rtol=1e-6)


def test_a_changed_weight_changes_the_next_update_and_traces_nothing_new(make_model, two_tasks):
    model = make_model(compile_options={"optimizer": keras.optimizers.SGD(0.1)})
    batch = random_batch(two_tasks)
    traces = 0

    @tf.function
    def step():
        nonlocal traces
        traces += 1
        return model.train_step(batch)

    start = weights_of(model)

    def change():
        for variable, value in zip(model.network.trainable_variables, start, strict=True):
            variable.assign(value)
        step()
        return [after - before for after, before in zip(weights_of(model), start, strict=True)]

    equal = change()
    model.set_task_weights({"counting": 0.0})
    only_corridor = change()
    model.set_task_weights({"counting": 1.0, "corridor": 0.0})
    only_counting = change()
    assert traces == 1
    backbone = [v.path for v in model.network.trainable_variables].index("backbone/dense_0/kernel")
    assert not np.allclose(equal[backbone], only_corridor[backbone], atol=1e-4)
    for whole, one, other in zip(equal, only_corridor, only_counting, strict=True):
        np.testing.assert_allclose(whole, one + other, atol=1e-6)


def test_weights_changed_in_fit_by_a_callback_trace_nothing_new(make_model, two_tasks):
    model = make_model()
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    traces = []
    original = model.train_step
    model.train_step = lambda batch: (traces.append(1), original(batch))[1]
    halve = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.set_task_weights({"counting": 0.5**epoch})
    )
    history = model.fit(experience.dataset(8), epochs=3, steps_per_epoch=5, callbacks=[halve], verbose=0).history
    assert history["counting/weight"] == [1.0, 0.5, 0.25]
    assert history["corridor/weight"] == [1.0, 1.0, 1.0]
    assert len(traces) == 1


def test_scheduled_weights(make_model, two_tasks):
    falling = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    model = make_model(compile_options={"loss_weights": {"corridor": falling, "counting": 2.0}})
    step, batch = tf.function(model.train_step), random_batch(two_tasks)
    seen = []
    for _ in range(3):
        model.task_metrics.reset_state()
        logs = step(batch)
        seen.append((float(logs["corridor/weight"]), float(logs["counting/weight"])))
    np.testing.assert_allclose(seen, [(1.0, 2.0), (0.9, 2.0), (0.8, 2.0)], rtol=1e-6)


def test_tasks_own_weights_are_the_default():
    tasks = mtq.TaskSet([mtq.Task("a", Corridor, weight=0.25), mtq.Task("b", Corridor)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    model.compile()
    assert model.task_weights.numpy().tolist() == [0.25, 1.0]


def test_q_values_of_a_chain_in_closed_form():
    """A corridor of 4 with γ = 0.8: moving on from state s is worth γ^(3 − s), waiting first γ times that."""
    environment = type("Chain", (Corridor,), {"length": 4})
    other = type("Shorter", (Corridor,), {"length": 2})
    tasks = mtq.TaskSet([mtq.Task("chain", environment, discount=0.8), mtq.Task("shorter", other, discount=0.6)])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([32]), seed=1)
    model = mtq.MultiTaskDQN(network, tasks, target_update_period=20)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 1500, alpha=0.002)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=50)
    experience = mtq.Experience(tasks, model, exploration=1.0, warmup_steps=200)
    model.fit(experience.dataset(64), steps_per_epoch=1500, verbose=0)
    for name, length, gamma in (("chain", 4, 0.8), ("shorter", 2, 0.6)):
        q_values = model.paths[name](np.eye(length, dtype=np.float32)).numpy()
        move = gamma ** np.arange(length - 1, -1, -1)
        np.testing.assert_allclose(q_values, np.stack([gamma * move, move], axis=1), rtol=0.02)


def test_a_task_is_acted_in_by_its_own_path_alone(make_model):
    model = make_model()
    names = {layer.name for layer in model.paths["corridor"].layers}
    assert names == {"corridor", "corridor_encoder", "backbone", "corridor_q_values"}


def test_keras_model_manners(make_model, two_tasks, capsys):
    model = make_model()
    model.summary()
    assert "shared_q_network" in capsys.readouterr().out
    assert {v.path for v in model.trainable_variables} == {v.path for v in model.network.trainable_variables}
    model.compile(run_eagerly=True)
    experience = mtq.Experience(two_tasks, model, warmup_steps=10)
    history = model.fit(experience.dataset(4), steps_per_epoch=3, verbose=0).history
    assert np.isfinite(history["loss"][0])


@pytest.mark.thorough
def test_xla_compiles_the_step(make_model, two_tasks):
    batch = random_batch(two_tasks)
    models = [make_model(compile_options={"optimizer": keras.optimizers.SGD(0.1)}) for _ in range(2)]
    tf.function(models[0].train_step)(batch)
    tf.function(models[1].train_step, jit_compile=True)(batch)
    for plain, compiled in zip(weights_of(models[0]), weights_of(models[1]), strict=True):
        np.testing.assert_allclose(plain, compiled, atol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_fit_compiled_by_xla(make_model, two_tasks, steps_per_execution):
    model = make_model(compile_options={"jit_compile": True, "steps_per_execution": steps_per_execution})
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    history = model.fit(experience.dataset(8), epochs=2, steps_per_epoch=10, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert int(model.updates) == 20


def test_train_on_batch(make_model, two_tasks):
    model = make_model()
    before = weights_of(model)
    model.train_on_batch(random_batch(two_tasks))
    assert any(not np.array_equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(two_tasks, policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = mtq.networks.shared_q_network(two_tasks, mtq.networks.mlp([16]), dueling=True, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    model = mtq.MultiTaskDQN(network, two_tasks)
    model.compile(keras.optimizers.SGD(0.1))
    logs = tf.function(model.train_step)(random_batch(two_tasks))
    assert np.isfinite(float(logs["loss"]))
    assert logs["loss"].dtype == tf.float32


@pytest.mark.thorough
def test_soft_updates_of_a_backbone_with_dropout(two_tasks):
    backbone = keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.5)])
    network = mtq.networks.shared_q_network(two_tasks, backbone, seed=0)
    model = mtq.MultiTaskDQN(network, two_tasks, target_update_tau=0.1)
    model.compile()
    assert np.isfinite(float(tf.function(model.train_step)(random_batch(two_tasks))["loss"]))


def test_changed_weights_beside_schedules(make_model, two_tasks):
    falling = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    model = make_model(compile_options={"loss_weights": {"corridor": falling, "counting": 2.0}})
    model.set_task_weights({"counting": 3.0, "corridor": np.float32(0.5)})
    logs = tf.function(model.train_step)(random_batch(two_tasks))
    assert (float(logs["corridor/weight"]), float(logs["counting/weight"])) == (0.5, 3.0)
