"""Losses that belong to no task, beyond the equality with Keras's step in keras_step_test.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch
from tests.plain_keras import layers, two_vectors


@keras.saving.register_keras_serializable("auxiliary_losses_test")
class Adds(layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(x**2))
        return x


@keras.saving.register_keras_serializable("auxiliary_losses_test")
class AddsNone(layers.Layer):
    def call(self, x):
        return 2.0 * x


@keras.saving.register_keras_serializable("auxiliary_losses_test")
class Norm(keras.regularizers.Regularizer):
    """Its gradient is not a number where the weights are zero, though its value is."""

    def __call__(self, x):
        return keras.ops.sqrt(keras.ops.sum(x**2))

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("auxiliary_losses_test")
class NotANumber(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x) * float("nan")

    def get_config(self):
        return {}


def make_model(backbone, optimizer=None, strategy=None, **options):
    tasks = two_vectors()
    with (strategy or tf.distribute.get_strategy()).scope():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone(), seed=0), tasks)
        model.compile(optimizer() if optimizer else keras.optimizers.SGD(0.1), **options)
    return model


@pytest.mark.parametrize(
    ("backbone", "has"),
    [
        (lambda: [layers.Dense(4)], False),
        (lambda: [layers.Dense(4), AddsNone()], False),
        (lambda: [layers.Dense(4), Adds()], True),
        (lambda: [layers.Dense(4, kernel_regularizer="l2")], True),
        (lambda: [layers.Dense(4, kernel_regularizer="l2", trainable=False), layers.Dense(4)], False),
        (lambda: [layers.ActivityRegularization(l1=1.0), layers.Dense(4)], True),
        (lambda: [layers.Dense(4, activity_regularizer="l2", trainable=False), layers.Dense(4)], True),
    ],
)
def test_what_is_logged_only_where_there_is_any(backbone, has):
    model = make_model(lambda: keras.Sequential(backbone()), run_eagerly=True)
    names = {"regularization_loss", "regularization_gradient_norm"}
    assert names & set(model.metrics_names) == (names if has else set())
    assert model.keras_step.has_auxiliary == has
    logs = model.train_on_batch(random_batch(model.tasks), return_dict=True)
    of_tasks = sum(logs[f"{task}/loss"] for task in model.tasks)
    assert logs["loss"] == pytest.approx(of_tasks + logs.get("regularization_loss", 0.0), rel=1e-5)


@pytest.mark.thorough
def test_the_step_of_a_network_without_any_has_no_operation_more():
    def operations(backbone):
        model = make_model(lambda: keras.Sequential(backbone), run_eagerly=False)
        batch = random_batch(model.tasks)
        graph = tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph
        return len(graph.get_operations())

    plain = operations([layers.Dense(4)])
    assert operations([layers.Dense(4, kernel_regularizer="l2")]) > plain
    assert operations([layers.Dense(4, kernel_regularizer="l2", trainable=False)]) < plain + 1


@pytest.mark.parametrize(
    ("layer", "quantity"),
    [
        (lambda: layers.Dense(4, kernel_regularizer=NotANumber()), "regularization loss"),
        (lambda: layers.Dense(4, bias_regularizer=Norm()), "regularization gradient norm"),
    ],
)
def test_what_is_not_finite_stops_the_run_by_name(layer, quantity):
    model = make_model(lambda: keras.Sequential([layer()]), run_eagerly=True)
    before = model.network.get_weights()
    with pytest.raises(mtq.NonFiniteLossError, match=f"^The {quantity} of the network must stay finite. Received: nan"):
        model.fit(tf.data.Dataset.from_tensors(random_batch(model.tasks)).repeat(3), verbose=0)
    for one, other in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def regularized():
    return keras.Sequential([layers.Dense(6, "tanh", kernel_regularizer="l2", activity_regularizer="l2"), Adds()])


def after(replicas, aggregator, optimizer=None, steps=2, **options):
    """The weights after some updates by so many replicas, and the logs."""
    strategy = tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(replicas)])
    model = make_model(regularized, optimizer, strategy, aggregator=aggregator, **options)
    batches = [random_batch(model.tasks, 8, seed) for seed in range(steps)]
    joined = tf.nest.map_structure(lambda *rows: tf.concat(rows, 0), *batches)
    dataset = tf.data.Dataset.from_tensor_slices(joined).batch(8, drop_remainder=True)
    history = model.fit(dataset, verbose=0, steps_per_epoch=steps).history
    return [np.array(v) for v in [*model.network.variables, *model.optimizer.variables]], history


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), dynamic_growth_steps=2)


@pytest.mark.parametrize(
    ("aggregator", "optimizer", "options"),
    [
        ("sum", None, {"loss": keras.losses.MeanSquaredError()}),
        pytest.param("sum", scaled, {}, marks=pytest.mark.slow),
        pytest.param("upgrad", scaled, {"loss": keras.losses.Huber(reduction="sum")}, marks=pytest.mark.slow),
        pytest.param("upgrad", lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0), {}, marks=pytest.mark.slow),
        pytest.param(
            "sum", lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), {}, marks=pytest.mark.slow
        ),
        pytest.param("sum", lambda: keras.optimizers.SGD(0.1, use_ema=True), {}, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_are_as_one(aggregator, optimizer, options):
    (one, logs), (two, logs_of_two) = (after(replicas, aggregator, optimizer, **options) for replicas in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for name in ("loss", "regularization_loss"):
        np.testing.assert_allclose(logs[name], logs_of_two[name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("aggregator", ["sum", "upgrad"])
def test_bytes_reduced_are_those_that_are_said(monkeypatch, aggregator):
    strategy, reduced = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), []
    model = make_model(regularized, None, strategy, aggregator=aggregator)
    reduce_to = strategy.extended.reduce_to

    def counted(how, value, destinations):
        vector = strategy.experimental_local_results(value)[0]
        reduced.append(vector.shape.num_elements() * vector.dtype.size)
        return reduce_to(how, value, destinations)

    monkeypatch.setattr(strategy.extended, "reduce_to", counted)
    model.fit(tf.data.Dataset.from_tensors(random_batch(model.tasks)), verbose=0)
    assert model.make_update().bytes_reduced(model.paths, strategy, has_auxiliary=True) == sum(reduced)


@pytest.mark.slow
def test_fit_on_experience_compiled_by_xla():
    tasks = mtq.TaskSet([mtq.Task("cart", "in_graph/CartPole"), mtq.Task("acrobot", "in_graph/Acrobot")])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, regularized(), seed=0), tasks)
    model.compile(scaled(), jit_compile=True, steps_per_execution=5)
    experience = mtq.Experience(tasks, model, warmup_steps=20)
    history = model.fit(experience.dataset(8), epochs=2, steps_per_epoch=10, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss_scale"][1] > 2.0**15
    assert min(history["regularization_loss"]) > 0
