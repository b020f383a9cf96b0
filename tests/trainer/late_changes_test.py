"""Changes of a model after it was made: quantized layers, weights that are NaN, training loops of one's own."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec
from tests.batches import random_batch

L = keras.layers
TASKS = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])
OBSERVATIONS = {name: np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3) for name in TASKS}


def make_model(*layers, optimizer="sgd", seed=0, **options):
    backbone = keras.Sequential(layers) if layers else mtq.networks.mlp([8])
    network = mtq.networks.shared_q_network(TASKS, backbone, seed=seed)
    model = mtq.MultiTaskDQN(network, TASKS, **options)
    model.compile(optimizer, jit_compile=False)
    return model


def values(network):
    return np.concatenate([np.ravel(q) for q in network(OBSERVATIONS).values()])


@pytest.mark.parametrize(
    "what", ["layer", *(pytest.param(what, marks=pytest.mark.thorough) for what in ("network", "model"))]
)
def test_a_quantized_network_is_the_target_network_too(what):
    model = make_model()
    model.train_on_batch(random_batch(TASKS))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        {"model": model, "network": model.network, "layer": model.get_layer("backbone").layers[-1]}[what].quantize(
            "int8"
        )
        target = values(model.target_network)
    [text] = [text for text in map(lambda one: str(one.message), told) if "the target network" in text.lower()]
    assert "'backbone/dense_0/kernel'" in text
    assert "was set equal to the network. Quantize after" in text
    np.testing.assert_array_equal(target, values(model.network))
    with pytest.raises(ValueError, match="Call compile again"):
        model.train_on_batch(random_batch(TASKS))


@pytest.mark.thorough
def test_a_loaded_model_draws_the_masks_that_would_have_come_next(tmp_path):
    model = make_model(L.Dense(32), L.Dropout(0.5, seed=3))
    model.train_on_batch(random_batch(TASKS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.train_on_batch(random_batch(TASKS, seed=1))
    np.testing.assert_array_equal(values(loaded), values(model))


class SetWeights(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        kernel = self.model.network.trainable_variables[0]
        kernel.assign(kernel * np.nan)


def test_weights_that_are_no_numbers_stop_the_run_though_a_rectifier_hides_them():
    model = make_model(L.Dense(8, activation=lambda x: tf.where(x > 0, x, 0.0)))
    batches = tf.data.Dataset.from_tensors(random_batch(TASKS)).repeat()
    with pytest.raises(
        mtq.callbacks.NonFiniteLossError, match=r"weights of the network.*'backbone/.*kernel' by update 2"
    ):
        model.fit(batches, steps_per_epoch=2, verbose=0, callbacks=[SetWeights()])


@pytest.mark.parametrize(
    "optimizer",
    [keras.optimizers.SGD(np.nan), pytest.param(keras.optimizers.Adam(epsilon=0.0), marks=pytest.mark.thorough)],
)
def test_weights_that_the_optimizer_spoils_are_not_said_to_be_kept_as_they_were(optimizer):
    batch = random_batch(TASKS)
    zeros = {name: rows._replace(observation=tf.zeros_like(rows.observation)) for name, rows in batch.items()}
    with pytest.raises(mtq.callbacks.NonFiniteLossError, match=r"is not finite either. Check the optimizer's epsilon"):
        make_model(optimizer=optimizer).fit(tf.data.Dataset.from_tensors(zeros).repeat(), steps_per_epoch=5, verbose=0)


@pytest.mark.parametrize("dtype", ["float16", pytest.param("float64", marks=pytest.mark.thorough)])
def test_a_loss_may_have_a_dtype_of_its_own(dtype):
    model = make_model()
    model.compile("sgd", keras.losses.MeanSquaredError(dtype=dtype), jit_compile=False)
    other = make_model()
    losses = [one.train_on_batch(random_batch(TASKS), return_dict=True)["a/loss"] for one in (model, other)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.parametrize("in_graph", [False, True])
def test_the_target_is_in_step_in_a_loop_of_ones_own(in_graph):
    model, trained = make_model(), make_model(seed=1)
    model.network.set_weights(trained.network.get_weights())
    step = tf.function(model.train_step) if in_graph else model.train_step
    step(random_batch(TASKS))
    np.testing.assert_array_equal(values(model.target_network), values(trained.network))


@pytest.mark.thorough
@pytest.mark.parametrize("after_fit", [False, True])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"action": tf.fill([8], 5)}, r"action of a batch of task b must be from 0 to 1.*\[5\]"),
        ({"discount": tf.fill([8], 1.5)}, r"discount of a batch of task b must be from 0 to 1"),
        ({"reward": tf.fill([8], np.nan)}, r"reward of a batch of task b must be finite"),
        ({"observation": tf.fill([8, 3], np.inf)}, r"observation of a batch of task b must be finite"),
    ],
)
def test_batches_are_checked_in_a_loop_of_ones_own(change, says, after_fit):
    model, batch = make_model(), random_batch(TASKS)
    if after_fit:
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    step = tf.function(model.train_step)
    assert np.isfinite(float(step(batch)["loss"]))
    before = model.network.get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        step({**batch, "b": batch["b"]._replace(**change)})
    for was, now in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_logs_are_of_float32_whatever_the_default_type_is():
    network = mtq.networks.shared_q_network(TASKS, mtq.networks.mlp([8]))
    keras.config.set_floatx("float16")
    try:
        model = mtq.MultiTaskDQN(network, TASKS)
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))
    finally:
        keras.config.set_floatx("float32")
    assert {variable.dtype for metric in model.metrics for variable in metric.variables} == {"float32"}


class Counting(keras.callbacks.Callback):
    """Makes an update of its own at the end of each epoch."""

    def __init__(self, batch):
        super().__init__()
        self.batch, self.changed = batch, []

    def on_epoch_end(self, epoch, logs=None):
        before, steps = self.model.updates.numpy(), dict(self.env_steps())
        self.model.train_on_batch(self.batch)
        self.changed.append((int(self.model.updates.numpy() - before), self.env_steps() == steps))


def test_a_batch_of_ones_own_within_a_fit_is_the_one_that_is_learnt_from(two_tasks, make_model):
    model = make_model(compile_options={"steps_per_execution": 3})
    experience = mtq.Experience(two_tasks, model, warmup_steps=20)
    callback = Counting(random_batch(two_tasks))
    callback.env_steps = lambda: dict(experience.env_steps)
    model.fit(experience.dataset(4), epochs=2, steps_per_epoch=6, verbose=0, callbacks=[callback])
    assert callback.changed == [(1, True)] * 2
    assert int(model.updates.numpy()) == 14


@pytest.mark.thorough
def test_a_batch_of_ones_own_at_the_end_of_a_dataset():
    model, batch = make_model(), random_batch(TASKS)

    class Another(keras.callbacks.Callback):
        def on_train_batch_end(self, step, logs=None):
            self.model.train_on_batch(batch)

    with pytest.warns(UserWarning, match="ran out of data"):  # which Keras says of every generator that ends
        model.fit(((batch,) for _ in range(3)), epochs=1, verbose=0, callbacks=[Another()])
    assert int(model.updates.numpy()) == 6
