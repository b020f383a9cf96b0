"""A network whose sharing of layers a file would lose is refused when the model is made; others are loaded alike."""

import keras
import numpy as np
import pytest

import mtq
from mtq.tasks.spec import TaskSpec
from tests.batches import random_batch

L = keras.layers
TASKS = mtq.TaskSet([mtq.Task(name, None, spec=TaskSpec((3,), "float32", None, 2)) for name in "ab"])


def dense():
    return L.Dense(3, "relu", name="shared")


def twice_in_a_sequential():
    layer = dense()
    return keras.Sequential([layer, L.Dense(3), layer])


def without_weights_twice():
    layer = L.ReLU(name="shared")
    return keras.Sequential([L.Dense(4), layer, L.Dense(4), layer])


def in_two_sequentials():
    layer = dense()
    return keras.Sequential([keras.Sequential([layer, L.Dense(3)]), keras.Sequential([layer, L.Dense(4)])])


def in_a_model_and_beside_it():
    layer, inputs = dense(), keras.Input((3,))
    return keras.Model(inputs, keras.Sequential([layer, L.Dense(4)])(layer(inputs)))


def within_a_wrapper_and_beside_it():
    layer = dense()
    return keras.Sequential([layer, L.Reshape((1, 3)), L.TimeDistributed(layer), L.Flatten()])


def activation_of_two_layers():
    activation = L.PReLU(name="shared")
    activation.build((None, 4))
    return keras.Sequential([L.Dense(4, activation=activation), L.Dense(4, activation=activation)])


def a_dropout_in_two_sequentials():
    layer = L.Dropout(0.1, name="shared")
    return keras.Sequential([keras.Sequential([L.Dense(3), layer]), keras.Sequential([L.Dense(4), layer])])


def unbuilt_activation_of_two_layers():
    activation = L.PReLU(name="shared")
    return keras.Sequential([L.Dense(4, activation=activation), L.Dense(4, activation=activation)])


@pytest.mark.parametrize(
    "make",
    [
        twice_in_a_sequential,
        a_dropout_in_two_sequentials,
        without_weights_twice,
        in_two_sequentials,
        in_a_model_and_beside_it,
        within_a_wrapper_and_beside_it,
        activation_of_two_layers,
        unbuilt_activation_of_two_layers,
    ],
)
def test_sharing_that_a_file_would_lose_is_refused(make):
    network = mtq.networks.shared_q_network(TASKS, make())
    with pytest.raises(ValueError, match=r"belong to one model or layer only.*Received: layer 'shared'.*functional"):
        mtq.MultiTaskDQN(network, TASKS)


def called_often():
    layer, inputs = dense(), keras.Input((3,))
    return keras.Model(inputs, L.Add()([layer(inputs), layer(layer(inputs))]))


def a_model_called_twice():
    model, inputs = keras.Sequential([dense(), L.Dense(3)]), keras.Input((3,))
    return keras.Model(inputs, model(model(inputs)))


def without_weights_in_two_sequentials():
    relu = L.ReLU()
    return keras.Sequential([keras.Sequential([L.Dense(4), relu]), keras.Sequential([L.Dense(4), relu])])


def activation_that_its_first_call_builds():
    return keras.Sequential([L.Dense(4, activation=L.PReLU())])


@keras.saving.register_keras_serializable("mtq_tests")
class MakesItself(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        layer = L.Dense(3)
        self.one, self.other = keras.Sequential([layer, L.ReLU()]), keras.Sequential([layer])

    def build(self, shape):
        self.one.build(shape)
        super().build(shape)

    def call(self, inputs):
        return self.other(self.one(inputs))


@pytest.mark.parametrize(
    "make",
    [
        called_often,
        a_model_called_twice,
        without_weights_in_two_sequentials,
        activation_that_its_first_call_builds,
        MakesItself,
    ],
)
def test_sharing_that_a_file_keeps(make, tmp_path):
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(TASKS, make()), TASKS)
    model.compile("sgd", jit_compile=False)
    model.train_on_batch(random_batch(TASKS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    observations = {name: np.ones((2, 3), np.float32) for name in TASKS}
    for name, values in model(observations).items():
        np.testing.assert_array_equal(loaded(observations)[name], values)
    assert len(loaded.network.variables) == len(model.network.variables)
