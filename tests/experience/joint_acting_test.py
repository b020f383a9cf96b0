"""One call of the shared layers selects the actions of all tasks."""

import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.experience.driver import act_together
from mtq.experience.exploration import EpsilonGreedy
from mtq.experience.policy import EpsilonGreedyPolicy


def experience_of(backbone, num_envs):
    names = ("asterix", "breakout", "freeway")[: len(num_envs)]
    tasks = mtq.TaskSet([mtq.suites.task(name, number) for name, number in zip(names, num_envs, strict=True)])
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, backbone, seed=0), tasks)
    return model, mtq.Experience(model, exploration=0.0, warmup_steps=20)


def operations(function):
    graph = tf.function(function, autograph=False).get_concrete_function().graph
    nested = [f.graph for f in graph._functions.values()] if hasattr(graph, "_functions") else []
    return [operation.type for each in (graph, *nested) for operation in each.get_operations()]


@pytest.mark.parametrize("num_envs", [(2, 2), pytest.param((2, 2, 3), marks=pytest.mark.thorough)])
def test_the_actions_are_those_of_the_single_networks(num_envs):
    model, experience = experience_of(mtq.networks.minatar_cnn(4, 8), num_envs)
    experience.prepare()
    replica, random = experience.current_replica(), np.random.default_rng(0)
    for group in replica._groups:
        names = [name for name, task in experience.tasks.items() if task.num_envs == group.num_envs]
        images = {
            name: tf.constant(random.integers(2, size=(50, *experience.tasks[name].spec.observation_shape)), tf.uint8)
            for name in names
        }
        values = group.q_values(images)
        assert set(values) == set(names)
        for name in names:
            np.testing.assert_allclose(values[name], model.paths[name](images[name]), rtol=1e-5, atol=1e-6)
    before = {name: driver.read().observation for name, driver in replica.drivers.items()}
    for group in replica._groups:
        act_together(group.drivers, group.q_values)()
    for name, replay in experience.replays.items():
        greedy = tf.argmax(model.paths[name](before[name]), axis=-1)
        np.testing.assert_array_equal(replay.gather_all().action[:, -1], greedy)


def test_convolutions_are_called_once_for_all_tasks():
    _, experience = experience_of(mtq.networks.minatar_cnn(4, 8), (2, 2))
    (group,) = experience.current_replica()._groups
    assert operations(lambda: act_together(group.drivers, group.q_values)()).count("Conv2D") == 1


def test_policies_of_the_users_own_compute_their_own_values():
    """Also those of mtq's class: one prefers action 1 whatever the network says, beside another kind of policy."""

    def policy(task, network):
        prefers_one = lambda _: tf.one_hot([1] * task.num_envs, task.num_actions)  # noqa: E731
        return EpsilonGreedyPolicy(task, prefers_one, EpsilonGreedy(0.0), lambda: tf.constant(1), 0)

    tasks = mtq.suites.minatar(["asterix", "breakout"], num_envs=2)
    model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(4, 8), seed=0), tasks)
    experience = mtq.Experience(model, policy=policy, warmup_steps=20)
    experience.prepare()
    for replay in experience.replays.values():
        assert set(replay.gather_all().action.numpy().ravel()) == {1}
