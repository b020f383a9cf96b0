"""A layer's name is refused when the model is made, or the model trains, is saved and is exported with it."""

import keras
import pytest
import tensorflow as tf

import mtq
from mtq.tasks.spec import TaskSpec
from tests.batches import random_batch

TASKS = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])
BAD = ["x y", "x:y", "x@y", "x\ty", "x\n", "x\\y", "ü", "_x", "-x", ">x"]
GOOD = [".x", "0", "x>y", "x-y", "x" * 300, "Dense", "a_"]


def place_in(place, name):
    layer = keras.layers.Dense(4, name=name)
    if place == "network":
        return {"backbone": mtq.networks.mlp([4])}
    if place == "encoder":
        return {"backbone": mtq.networks.mlp([4]), "encoders": {"a": layer, "b": keras.layers.Dense(4)}}
    if place == "backbone":
        return {"backbone": keras.Sequential([keras.layers.Dense(4)], name=name)}
    return {"backbone": keras.Sequential([layer]), "shared_layers": 0 if place == "depth 0" else None}


@pytest.mark.parametrize(
    ("place", "name"),
    [("encoder", name) for name in BAD] + [(place, "x y") for place in ("network", "backbone", "inner", "depth 0")],
)
def test_names_that_are_refused(place, name):
    network = mtq.networks.shared_q_network(TASKS, **place_in(place, name))
    if place == "network":
        network = keras.Model(network.input, network.output, name=name)
    with pytest.raises(ValueError, match=r"The name of a layer must be of letters.*Received: ") as raised:
        mtq.MultiTaskDQN(network, TASKS)
    assert repr(name)[1:-1] in str(raised.value)


def test_the_layers_of_a_layer_may_begin_with_an_underscore():
    attention = keras.Sequential([keras.layers.Reshape((3, 1)), keras.layers.LSTM(4), keras.layers.Dense(4)])
    attention.layers[1].cell.name = "_cell"
    mtq.MultiTaskDQN(mtq.networks.shared_q_network(TASKS, attention), TASKS)


@pytest.mark.thorough
def test_all_other_names_are_served(tmp_path):
    layers = [keras.layers.Dense(3, name=name) for name in GOOD]
    network = mtq.networks.shared_q_network(TASKS, keras.Sequential(layers), shared_layers=4)
    model = mtq.MultiTaskDQN(keras.Model(network.input, network.output, name="x>y"), TASKS)
    model.compile("sgd", jit_compile=False)
    board = keras.callbacks.TensorBoard(str(tmp_path / "board"), histogram_freq=1)
    model.fit(tf.data.Dataset.from_tensors(random_batch(TASKS)), verbose=0, callbacks=[board])
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")
    model.export(tmp_path / "export")
    tf.saved_model.load(str(tmp_path / "export")).signatures["a"](observation=tf.zeros([1, 3]))
