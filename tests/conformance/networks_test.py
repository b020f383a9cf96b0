"""Tests of the properties of every network, with each kind of backbone, encoder and head."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq


def images(shape, high=255):
    class Images(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, high, shape, np.uint8)
        action_space = gymnasium.spaces.Discrete(len(shape) + shape[-1])

    return Images


def vectors(size):
    class Vectors(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)
        action_space = gymnasium.spaces.Discrete(size)

    return Vectors


SETS = {
    "equal vectors": ([vectors(3), vectors(3)], mtq.networks.mlp),
    "unequal vectors": ([vectors(3), vectors(5)], mtq.networks.mlp),
    "equal images": ([images((10, 10, 4), 1), images((10, 10, 4), 1)], mtq.networks.minatar_cnn),
    "unequal channels": ([images((10, 10, 4), 1), images((10, 10, 7), 1)], mtq.networks.minatar_cnn),
    "residual vectors": ([vectors(3), vectors(3)], lambda: mtq.networks.bro_net(8, 1)),
    "residual images": (
        [images((10, 10, 4), 1), images((10, 10, 4), 1)],
        lambda: mtq.networks.impala_cnn([2, 3], 8, normalization="layer"),
    ),
    "few frames": ([images((84, 84, 4))] * 2, lambda: mtq.networks.data_efficient_cnn(32)),
    "frames": ([images((84, 84, 4)), images((84, 84, 4))], lambda: mtq.networks.nature_cnn(32)),
}


THOROUGH = {"few frames", "residual images"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.thorough if name in THOROUGH else ()) for name in SETS],
)
def tasks_and_backbone(request):
    environments, backbone = SETS[request.param]
    return mtq.TaskSet([mtq.Task(f"task_{i}", env) for i, env in enumerate(environments)]), backbone


@pytest.fixture(
    scope="module", params=[{}, {"dueling": True}, {"heads": [8]}, {"heads": {"task_0": [8, 4], "task_1": []}}], ids=str
)
def network(request, tasks_and_backbone):
    tasks, backbone = tasks_and_backbone
    return tasks, mtq.networks.shared_q_network(tasks, backbone(), seed=3, **request.param)


def observations(tasks, size=2):
    random = np.random.default_rng(0)
    return {
        name: (random.random((size, *task.spec.observation_shape)) * (task.spec.observation_high or 1)).astype(
            task.spec.observation_dtype
        )
        for name, task in tasks.items()
    }


def test_names_shapes_and_the_shared_part(network):
    tasks, network = network
    assert set(network.input) == set(network.output) == set(tasks)
    assert {name: tuple(q.shape) for name, q in network.output.items()} == {
        name: (None, task.num_actions) for name, task in tasks.items()
    }
    backbone = network.get_layer("backbone")
    assert isinstance(backbone, keras.Sequential)
    assert backbone.count_params() > 0


def test_a_tasks_path_alone_equals_the_whole_network_eagerly_and_in_a_graph(network):
    tasks, network = network
    paths, seen = mtq.networks.TaskPaths(network, tasks), observations(tasks)
    together = network(seen)
    for name, path in paths.items():
        np.testing.assert_allclose(path(seen[name]), together[name], rtol=1e-5, atol=1e-6)
        in_a_graph = tf.function(lambda x, path=path: path(x))(tf.constant(seen[name]))
        np.testing.assert_allclose(in_a_graph, together[name], rtol=1e-4, atol=1e-5)


def test_only_the_backbone_is_shared(network):
    tasks, network = network
    paths = mtq.networks.TaskPaths(network, tasks)
    shared = {v.path for v in network.get_layer("backbone").trainable_variables}
    ours, theirs = ({v.path for v in path.trainable_variables} for path in paths.values())
    assert ours & theirs == shared
    assert ours | theirs == {v.path for v in network.trainable_variables}


def test_config_round_trip(network, tmp_path):
    tasks, network = network
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    for name, q_values in network(observations(tasks)).items():
        np.testing.assert_array_equal(loaded(observations(tasks))[name], q_values)


def test_the_same_seed_draws_the_same_weights_whatever_was_drawn_before(tasks_and_backbone):
    tasks, backbone = tasks_and_backbone

    def draw(seed):
        keras.random.uniform([3])
        return mtq.networks.shared_q_network(tasks, backbone(), seed=seed).get_weights()

    for first, second in zip(draw(1), draw(1), strict=True):
        np.testing.assert_array_equal(first, second)
    assert any(not np.array_equal(first, second) for first, second in zip(draw(1), draw(2), strict=True))


def test_integer_observations_are_scaled_to_one():
    tasks = mtq.TaskSet([mtq.Task("frames", images((84, 84, 1)))])
    network = mtq.networks.shared_q_network(tasks, keras.layers.Flatten())
    scaled = keras.Model(network.input, network.get_layer("backbone").output)
    assert float(tf.reduce_max(scaled({"frames": np.full((1, 84, 84, 1), 255, np.uint8)}))) == pytest.approx(1.0)


def test_dueling_by_hand():
    head = mtq.networks.DuelingHead(3)
    head.build((None, 2))
    head.value.set_weights([np.array([[1.0], [2.0]]), np.array([0.5])])
    head.advantage.set_weights([np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]), np.zeros(3)])
    # v = 1 + 4 + 0.5 = 5.5; a = (1, 6, 2) with mean 3.
    np.testing.assert_allclose(head(np.array([[1.0, 2.0]])), [[3.5, 8.5, 4.5]])
