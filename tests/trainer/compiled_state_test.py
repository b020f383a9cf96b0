"""What is changed of a compiled model has its effect, or is refused by name; it is never ignored."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.learning.losses import ValueLoss
from tests.batches import random_batch
from tests.plain_keras import layers, two_vectors


def data(model, n=4):
    return tf.data.Dataset.from_tensors(random_batch(model.tasks)).repeat(n)


@pytest.fixture(params=[False, True], ids=["own data", "experience"])
def batches(request, two_tasks):
    """Tasks, and a function that makes the batches of a model."""
    if request.param:
        return two_tasks, lambda model: mtq.Experience(model.tasks, model, warmup_steps=4).dataset(2)
    return two_vectors(), lambda model: data(model).repeat()


def make(tasks, **options):
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([4]), seed=0), tasks, **options)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def target_is_network(model):
    pairs = zip(model.target_network.variables, model.network.variables, strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.thorough
def test_settings_that_are_assigned_between_fits(batches):
    tasks, of = batches
    model = make(tasks)
    dataset = of(model)

    def fit(steps=4):
        before = int(model.updates.numpy())
        model.fit(dataset, steps_per_epoch=steps, verbose=0)
        return int(model.updates.numpy()) - before

    assert fit() == 4
    model.steps_per_execution = 2
    assert fit() == 4
    assert not target_is_network(model)
    model.target_update_period = 3
    fit(2)
    assert int(model.updates.numpy()) == 10
    assert not target_is_network(model)
    model.target_update_period = 2
    fit(2)
    assert target_is_network(model)
    model.target_update_period, model.target_update_tau = 500, 1.0
    fit(2)
    assert target_is_network(model)
    model.run_eagerly = True
    in_python = []
    with pytest.MonkeyPatch.context() as patch:
        step = model.train_step
        patch.setattr(model, "train_step", lambda batch: in_python.append(tf.executing_eagerly()) or step(batch))
        fit(2)
    assert in_python == [True, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps_per_execution", 0),
        ("target_update_period", -1),
        ("target_update_tau", 2.0),
        ("run_eagerly", 1),
    ],
)
def test_settings_that_are_out_of_range(name, value):
    model = make(two_vectors())
    setattr(model, name, value)
    for train in (lambda: model.fit(data(model), verbose=0), lambda: model.train_on_batch(random_batch(model.tasks))):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            train()
    with pytest.raises(ValueError, match=f"^{name} must be "):
        model.fit(data(model), verbose=0)


@pytest.mark.thorough
def test_jit_compile():
    model = make(two_vectors())
    assert not model.compiles_update
    model.jit_compile = True
    model.fit(data(model), verbose=0)
    assert model.compiles_update


REPLACED = {
    "optimizer": lambda model: keras.optimizers.SGD(0.0),
    "loss": lambda model: "mse",
    "network": lambda model: make(model.tasks).network,
    "tasks": lambda model: two_vectors(),
    "weighting": lambda model: mtq.weightings.get("famo"),
    "aggregator": lambda model: mtq.aggregators.get("upgrad"),
    "td_loss": lambda model: ValueLoss("huber"),
}


def own_loop(model):
    model.train_step(random_batch(model.tasks))


def fit(model):
    model.fit(data(model), verbose=0)


def train_on_batch(model):
    model.train_on_batch(random_batch(model.tasks))


TRAINED_BY = [fit, *(pytest.param(train, marks=pytest.mark.thorough) for train in (train_on_batch, own_loop))]


@pytest.mark.parametrize("train", TRAINED_BY)
@pytest.mark.parametrize("name", REPLACED)
def test_parts_that_are_replaced(name, train):
    model = make(two_vectors())
    batch = random_batch(model.tasks)
    model.train_on_batch(batch)
    setattr(model, name, REPLACED[name](model))
    with pytest.raises(ValueError, match=rf"^model.{name} must be what the model was compiled with. Received: "):
        train(model)


def change_a_weights(dense):
    dense.kernel.regularizer = keras.regularizers.L2(1.0)


def change_an_activity(dense):
    dense.activity_regularizer = keras.regularizers.L2(1.0)


@pytest.mark.parametrize("train", TRAINED_BY)
@pytest.mark.parametrize("change", [change_a_weights, change_an_activity])
def test_regularizers_that_are_changed(change, train):
    model = make(two_vectors())
    change(next(layer for layer in model.network._flatten_layers() if isinstance(layer, layers.Dense)))
    with pytest.raises(ValueError, match=r"^The regularizers of the network must be .* another one of .*dense"):
        train(model)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    train(model)
    assert "regularization_loss" in model.metrics_names


@pytest.mark.parametrize("train", TRAINED_BY)
def test_layers_that_are_freed_or_frozen(train):
    model = make(two_vectors())
    backbone = model.network.get_layer("backbone")
    backbone.trainable = False
    with pytest.raises(ValueError, match=r"must be those that it was compiled with. Received: frozen since: "):
        train(model)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    train(model)
    backbone.trainable = True
    with pytest.raises(ValueError, match=r"must be those that it was compiled with. Received: freed since: "):
        train(model)
