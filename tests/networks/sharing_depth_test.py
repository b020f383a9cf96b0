"""How much of a backbone the tasks share."""

import keras
import numpy as np
import pytest

import mtq


@pytest.fixture
def tasks():
    return mtq.TaskSet([mtq.Task("a", "in_graph/CartPole"), mtq.Task("b", "in_graph/CartPole")])


def backbone():
    return keras.Sequential(
        [
            keras.layers.Dense(8, activation="relu", name="first"),
            keras.layers.Dropout(0.0, name="drop"),
            keras.layers.Dense(8, activation="tanh", name="second"),
        ],
        name="backbone",
    )


def shared_sizes(network, tasks):
    paths = mtq.networks.TaskPaths(network, tasks)
    variables = network.trainable_variables
    return [variable.shape for variable, of in zip(variables, paths.tasks_of(variables), strict=True) if len(of) > 1]


@pytest.mark.parametrize(
    ("depth", "shapes"),
    [(0, []), (1, [(4, 8), (8,)]), (2, [(4, 8), (8,), (8, 8), (8,)]), (None, [(4, 8), (8,), (8, 8), (8,)])],
)
def test_so_many_layers_are_shared(tasks, depth, shapes):
    network = mtq.networks.shared_q_network(tasks, backbone(), shared_layers=depth)
    assert shared_sizes(network, tasks) == shapes
    assert len(network.trainable_variables) == 2 * 2 * 2 + 2 * 2 - len(shapes)  # two layers and a head, of two tasks


def test_all_layers_are_the_same_as_leaving_it_out(tasks):
    whole = mtq.networks.shared_q_network(tasks, backbone(), seed=3)
    counted = mtq.networks.shared_q_network(tasks, backbone(), seed=3, shared_layers=2)
    observation = {name: np.random.default_rng(0).normal(size=(5, 4)).astype("float32") for name in tasks}
    for name, q_values in whole(observation).items():
        np.testing.assert_array_equal(q_values, counted(observation)[name])


def test_copies_begin_with_weights_of_their_own_and_keep_their_settings(tasks):
    seeded = keras.Sequential(
        [keras.layers.Dense(8, activation="tanh", kernel_initializer=keras.initializers.GlorotUniform(7), name="only")]
    )
    network = mtq.networks.shared_q_network(tasks, seeded, shared_layers=0)
    first, second = network.get_layer("a_only"), network.get_layer("b_only")
    assert first.activation is second.activation is keras.activations.tanh
    assert not np.array_equal(first.kernel, second.kernel)


@pytest.mark.thorough
def test_separate_networks_do_not_touch_each_other(tasks):
    """What one of them learns is what it would learn alone, under the same optimizer and seed of the batch."""
    network = mtq.networks.shared_q_network(tasks, backbone(), seed=0, shared_layers=0)
    alone_tasks = mtq.TaskSet([tasks["a"]])
    alone = mtq.networks.shared_q_network(alone_tasks, backbone(), shared_layers=0)
    for layer in alone.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    batches = {name: batch(place) for place, name in enumerate(tasks)}
    both, one = mtq.MultiTaskDQN(network, tasks), mtq.MultiTaskDQN(alone, alone_tasks)
    for model, names in ((both, ["a", "b"]), (one, ["a"])):
        model.compile(keras.optimizers.Adam(1e-2), aggregator="sum")
        for _ in range(5):
            model.train_on_batch({name: batches[name] for name in names})
    for layer in alone.layers:
        for ours, theirs in zip(layer.get_weights(), network.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def batch(seed):
    random = np.random.default_rng(seed)
    return mtq.Transition(
        random.normal(size=(16, 4)).astype("float32"),
        random.integers(2, size=16).astype("int32"),
        random.normal(size=16).astype("float32"),
        np.full(16, 0.9, "float32"),
        random.normal(size=(16, 4)).astype("float32"),
    )


@pytest.mark.parametrize("depth", [-1, 3, 1.5, True])
def test_no_so_many_layers(tasks, depth):
    with pytest.raises(ValueError, match="shared_layers must be an integer from 0 to 2"):
        mtq.networks.shared_q_network(tasks, backbone(), shared_layers=depth)


def test_a_functional_backbone_is_one_layer(tasks):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3)(keras.layers.Dense(5)(inputs))
    for name in ("backbone", "body"):
        network = mtq.networks.shared_q_network(tasks, keras.Model(inputs, outputs, name=name), shared_layers=0)
        assert not shared_sizes(network, tasks)
    assert network.get_layer("a_body").weights[0] is not network.get_layer("b_body").weights[0]
    with pytest.raises(ValueError, match="from 0 to 1"):
        mtq.networks.shared_q_network(tasks, keras.Model(inputs, outputs), shared_layers=2)


def test_convolutions_split_with_what_follows_them():
    tasks = mtq.suites.minatar(["breakout", "freeway"])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(4, 8), shared_layers=1)
    assert [layer.name for layer in network.get_layer("backbone").layers] == ["conv_0", "flatten"]
    assert network.get_layer("freeway_dense_0") is not network.get_layer("breakout_dense_0")
