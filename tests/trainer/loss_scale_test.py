"""Optimizers that scale the loss make the same step as those that do not, and float16 gradients do not underflow."""

import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from tests.batches import random_batch
from tests.plain_keras import assert_same_weights, layers, pair, train_both, two_vectors

HUGE = 2.0**127  # at which gradients overflow even in float32


def sgd():
    return keras.optimizers.SGD(0.1)


def backbone():
    return keras.Sequential([layers.Dense(8, "tanh", kernel_regularizer="l2", activity_regularizer="l2")])


def dynamic(**options):
    return lambda: keras.optimizers.LossScaleOptimizer(sgd(), **options)


def update(make_optimizer, aggregator="sum", scale=1.0, **options):
    """The change of every weight by one update."""
    model, _ = pair(two_vectors(), backbone, make_optimizer, aggregator=aggregator, **options)
    before = [v.numpy() for v in model.network.trainable_variables]
    batch = {n: b._replace(reward=scale * b.reward) for n, b in random_batch(model.tasks).items()}
    model.train_on_batch(batch)
    return [v.numpy() - w for v, w in zip(model.network.trainable_variables, before, strict=True)]


@pytest.mark.parametrize("aggregator", ["sum", "normalized_sum", pytest.param("upgrad", marks=pytest.mark.slow)])
def test_the_step_is_the_same_with_any_scale(aggregator):
    expected = update(sgd, aggregator)
    fixed = lambda: keras.optimizers.SGD(0.1, loss_scale_factor=1024.0)  # noqa: E731
    for make in (fixed, dynamic(), dynamic(initial_scale=3.0)):
        for one, other in zip(update(make, aggregator), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("initial_scale", [2.0**15, pytest.param(HUGE, marks=pytest.mark.thorough)])
def test_growth_and_backoff_are_those_of_keras(initial_scale):
    make = dynamic(initial_scale=initial_scale, dynamic_growth_steps=2)
    model, plain = pair(two_vectors(), backbone, make)
    train_both(model, plain, steps=5)
    scale = float(model.optimizer.dynamic_scale.numpy())
    assert scale == float(plain.optimizer.dynamic_scale.numpy()) != initial_scale
    assert int(model.optimizer.step_counter.numpy()) == int(plain.optimizer.step_counter.numpy())
    assert int(model.optimizer.iterations.numpy()) == int(plain.optimizer.iterations.numpy())
    assert_same_weights(model, plain)


@pytest.mark.parametrize("aggregator", ["sum", pytest.param("gradvac", marks=pytest.mark.thorough)])
def test_what_overflows_is_forgotten(aggregator):
    """In graph mode: weights, the optimizer, what weighting and aggregator remember, and the logs."""
    tasks = two_vectors()
    network = mtq.networks.shared_q_network(tasks, backbone(), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(dynamic(initial_scale=HUGE)(), loss_weights="gradnorm", aggregator=aggregator)
    remembered = [*network.variables, *model.optimizer.inner_optimizer.variables]
    remembered += [*model.weighting.variables.values(), *model.aggregator.variables.values()]
    before = [np.array(variable) for variable in remembered]
    batch = {n: b._replace(reward=30.0 * b.reward) for n, b in random_batch(tasks).items()}
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    logs = model.fit(dataset, steps_per_epoch=1, verbose=0).history
    assert logs["loss_scale"] == [HUGE]
    assert logs["task_0/gradient_norm"] == [0.0]
    assert 100 < logs["loss"][0] < 10_000
    for one, other in zip(before, remembered, strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    logs = model.fit(dataset, steps_per_epoch=20, epochs=2, verbose=0).history
    assert logs["task_0/gradient_norm"][-1] > 0
    assert logs["loss"][-1] < logs["loss"][0]
    assert all(np.all(np.isfinite(np.array(variable))) for variable in remembered)


def state_of(model):
    """All that an update may change but the counts of updates, the loss scale and the logs."""
    pluggables = [*model.weighting.variables.values(), *model.aggregator.variables.values()]
    variables = [*model.network.variables, *model.target_network.variables, *pluggables]
    return [np.array(variable) for variable in [*variables, *model.optimizer.inner_optimizer.variables]]


class StatefulSum(mtq.aggregators.Aggregator):
    """A sum that counts its calls, and overflows if asked to."""

    def __init__(self, factor=1.0, is_linear=True):
        super().__init__()
        self.factor, self.is_linear = factor, is_linear

    def build(self, num_tasks, num_shared):
        self.calls = self.add_variable("calls", tf.zeros([]))

    def __call__(self, gradients, weights, updates=0):
        self.calls.assign_add(1.0)
        return gradients.combine(self.factor * weights)


STRONG = keras.regularizers.L2(1e10)  # its gradient overflows at scales at which those of the tasks do not
OVERFLOWS = {
    "a task": (HUGE, None, 1.0),
    "auxiliary losses": (2.0**100, STRONG, 1.0),
    "the aggregated gradient": (1.0, None, 3e38),
}
# What remembers something: each kind of weighting and aggregator, and with replicas each way of reducing.
REMEMBER = {
    "gradients": ("gradnorm", lambda _: "gradvac", False),
    "losses": ("famo", lambda factor: StatefulSum(factor), False),
    "not linear": ("famo", lambda factor: StatefulSum(factor, is_linear=False), False),
    "telemetry": ("famo", lambda factor: StatefulSum(factor), True),
}


SKIPPED = [
    (overflow, remembers, replicas)
    for overflow, remembers, replicas in itertools.product(OVERFLOWS, REMEMBER, (1, 2))
    if (overflow, remembers) != ("the aggregated gradient", "gradients")  # GradVac has no factor to overflow by
]
OFTEN = {("auxiliary losses", "gradients", 1), ("a task", "losses", 2)}


@pytest.mark.parametrize(
    ("overflow", "remembers", "replicas"),
    [pytest.param(*case, marks=() if case in OFTEN else pytest.mark.slow) for case in SKIPPED],
)
def test_a_skipped_update_leaves_no_state_behind(overflow, remembers, replicas, tmp_path):
    scale, regularizer, factor = OVERFLOWS[overflow]
    weighting, aggregator, looks = REMEMBER[remembers]
    strategy = tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(replicas)])
    tasks, backbone = two_vectors(), keras.Sequential([layers.Dense(4, "tanh", kernel_regularizer=regularizer)])
    with strategy.scope() if replicas > 1 else contextlib.nullcontext():
        model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, seed=0), tasks)
        optimizer = dynamic(initial_scale=scale)()
        model.compile(optimizer, loss_weights=weighting, aggregator=aggregator(factor), jit_compile=False)
    batch = {n: b._replace(reward=30.0 * b.reward) for n, b in random_batch(tasks).items()}
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    telemetry = mtq.callbacks.GradientTelemetry(tmp_path, update_freq=1)
    before = state_of(model)
    model.fit(dataset, steps_per_epoch=1, verbose=0, callbacks=[telemetry] if looks else None)
    assert not telemetry.records
    assert float(model.optimizer.dynamic_scale.numpy()) == scale / 2  # it was skipped
    assert int(model.optimizer.iterations.numpy()) == 0
    for one, other in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [dynamic(), lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0)])
def test_a_loss_that_is_not_finite_still_stops_the_run(make):
    model, _ = pair(two_vectors(), backbone, make)
    batch = random_batch(model.tasks)
    batch["task_1"] = batch["task_1"]._replace(reward=tf.fill([8], 3e38))  # its square is infinite
    before = model.network.get_weights()
    with pytest.raises(mtq.NonFiniteLossError, match=r"loss of task 'task_1'"):
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    for one, other in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@keras.saving.register_keras_serializable("loss_scale_test")
class Root(layers.Layer):
    """Zeros whose gradient is not a number."""

    def call(self, x):
        return keras.ops.sqrt(0.0 * x)


def test_gradients_that_are_not_finite_at_any_scale_stop_the_run():
    tasks = two_vectors()
    network = mtq.networks.shared_q_network(tasks, keras.Sequential([layers.Dense(4), Root()]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(dynamic(initial_scale=2.0**-13)(), run_eagerly=True)
    with pytest.raises(mtq.NonFiniteLossError, match=r"gradient norm of task 'task_0'.* by update 2"):
        model.fit(tf.data.Dataset.from_tensors(random_batch(tasks)).repeat(9), verbose=0)


@pytest.fixture
def float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def conv():
    return keras.Sequential([layers.Reshape((1, 1, 3)), layers.Conv2D(8, 1, activation="tanh"), layers.Flatten()])


@pytest.mark.parametrize("make_backbone", [conv, lambda: keras.Sequential([layers.Dense(8, "tanh")])])
def test_small_losses_in_float16(float16, make_backbone):
    """Gradients of 1e-6 and less: lost without the scale, those of float32 with it."""

    def gradient(policy, optimizer=lambda: keras.optimizers.SGD(1e6), **options):
        keras.config.set_dtype_policy(policy)
        model, plain = pair(two_vectors(), make_backbone, optimizer, **options)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (
            isinstance(plain.optimizer, keras.optimizers.LossScaleOptimizer)
        )
        heads = [v for v in model.network.trainable_variables if "head" in v.path or "q_values" in v.path]
        for variable in heads:
            variable.assign(variable.value * 1e-4)  # values, targets and so their errors are small
        plain.network.set_weights(model.network.get_weights())
        model.target_network.set_weights(model.network.get_weights())
        train_both(model, plain, steps=1, scale=1e-4)
        first = model.network.trainable_variables[0].numpy()
        return first, plain.network.trainable_variables[0].numpy()

    expected, _ = gradient("float32")
    start = _start(make_backbone)
    own, of_keras = gradient("mixed_float16")
    lost, _ = gradient("mixed_float16", auto_scale_loss=False)
    step = expected - start
    assert np.abs(step).max() > 0
    error = lambda weights: np.abs(weights - start - step).max() / np.abs(step).max()  # noqa: E731
    assert error(own) < 0.02 < 0.2 < error(lost)
    assert error(of_keras) < 0.02


def _start(make_backbone):
    network = mtq.networks.shared_q_network(two_vectors(), make_backbone(), seed=0)
    return network.trainable_variables[0].numpy()


def test_when_an_optimizer_is_wrapped(float16):
    tasks = two_vectors()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    inner = sgd()
    model.compile(inner)
    wrapped = model.optimizer
    assert wrapped.inner_optimizer is inner
    model.compile(inner)
    assert model.optimizer is wrapped
    model.compile("sgd", auto_scale_loss=False)
    assert type(model.optimizer) is keras.optimizers.SGD
    config = model.get_compile_config()
    model.compile_from_config(config)
    assert type(model.optimizer) is keras.optimizers.SGD
    model.compile(keras.optimizers.SGD(0.1, loss_scale_factor=64.0))
    assert type(model.optimizer) is keras.optimizers.SGD
    model.compile(wrapped)
    assert model.optimizer is wrapped


def test_the_scale_is_saved_with_the_model(tmp_path):
    model, _ = pair(two_vectors(), backbone, dynamic(initial_scale=8.0, dynamic_growth_steps=1))
    model.train_on_batch(random_batch(model.tasks))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.dynamic_scale.numpy()) == 16.0
    assert loaded.metrics_names == model.metrics_names


class OwnGradients(keras.optimizers.SGD):
    def apply_gradients(self, grads_and_vars):
        return super().apply_gradients([(0 * gradient, variable) for gradient, variable in grads_and_vars])


def test_an_optimizer_of_ones_own_is_not_passed_by():
    tasks = two_vectors()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    with pytest.raises(ValueError, match=r"^optimizer must not override apply_gradients. Received: OwnGradients"):
        model.compile(OwnGradients(0.1))


class OwnScale(keras.optimizers.SGD):
    def scale_loss(self, loss):
        return loss * 7.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: OwnScale(0.1),
        lambda: keras.optimizers.LossScaleOptimizer(dynamic()()),
        lambda: keras.optimizers.SGD(0.1, loss_scale_factor=0.0),
        lambda: keras.optimizers.SGD(0.1, loss_scale_factor=float("inf")),
        dynamic(initial_scale=-1.0),
    ],
)
def test_scales_that_are_refused(make):
    tasks = two_vectors()
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4])), tasks)
    with pytest.raises(ValueError, match=r"must .*scale.* Received: .*LossScaleOptimizer|must .* Received: .* Give "):
        model.compile(make())
