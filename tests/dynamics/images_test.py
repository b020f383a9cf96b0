"""In-graph environments whose observations are images, and sticky actions."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.dynamics import Catch, Dynamics, Sticky
from mtq.environments import make_copies


class Dot(Dynamics):
    """A bright cell that the last action determines; ends after four steps."""

    observation_shape, observation_dtype, observation_high = (5, 5, 1), "uint8", 200.0
    num_actions, brightness = 5, 200

    def initial_state(self, random):
        return tf.zeros([random.shape[0], 2])

    def step(self, state, action, random):
        steps = state[:, 1] + 1
        return tf.stack([tf.cast(action, tf.float32), steps], 1), tf.ones_like(steps), steps >= 4

    def observe(self, state):
        cell = tf.one_hot(tf.cast(state[:, 0], tf.int32), 25, on_value=self.brightness, dtype=tf.int32)
        return tf.cast(tf.reshape(cell, [-1, 5, 5, 1]), tf.as_dtype(self.observation_dtype))


def changed(**attributes):
    return type("Changed", (Dot,), attributes)


def test_images_are_scaled_by_their_bound_and_learned():
    task = mtq.Task("dot", Dot, num_envs=2)
    spec = task.spec
    assert (spec.observation_dtype, spec.observation_high, spec.observation_shape) == ("uint8", 200.0, (5, 5, 1))
    tasks = mtq.TaskSet([task])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.minatar_cnn(2, 8), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile(keras.optimizers.Adam(1e-2), steps_per_execution=5)
    experience = mtq.Experience(model, warmup_steps=20)
    model.fit(experience.batches(8), steps_per_epoch=5, verbose=0)
    assert experience.next_batch(4)["dot"].observation.dtype == tf.uint8
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 0, 0] = 200
    unscaled = mtq.TaskSet([mtq.Task("dot", changed(observation_dtype="float32", observation_high=None, brightness=1))])
    other = mtq.networks.shared_q_network(unscaled, mtq.networks.minatar_cnn(2, 8), seed=0)
    other.set_weights(model.network.get_weights())
    np.testing.assert_allclose(model.network({"dot": image})["dot"], other({"dot": image / 200})["dot"], rtol=1e-6)


def test_images_of_colors_without_a_bound_are_refused():
    with pytest.raises(ValueError, match=r"must return images from -16 to 16.*Set .*observation_high of its dynamics"):
        make_copies(mtq.Task("dot", changed(observation_dtype="float32", observation_high=None)), 1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_high": None}, "observation_high of the dynamics of task 'dot' must be the upper bound"),
        ({"observation_high": 256}, "observation_high of the dynamics of task 'dot' must be"),
        (
            {"observation_dtype": "int32"},
            "observation_dtype of the dynamics of task 'dot' must be 'float32' or 'uint8'",
        ),
        ({"observation_shape": ()}, "must have at least one dimension"),
    ],
)
def test_images_whose_scale_is_not_known_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _ = mtq.Task("dot", changed(**changes)).spec


def test_observations_beyond_their_bound_are_refused():
    with pytest.raises(ValueError, match=r"observation_high of its dynamics, 0 to 1. Received: uint8 from 0 to 200"):
        make_copies(mtq.Task("dot", changed(observation_high=1.0)), 1, 0)
    wrong = changed(observe=lambda self, state: tf.zeros([state.shape[0], 5, 5, 1]))
    with pytest.raises(ValueError, match=r"observation from observe as uint8.* Received: float32"):
        make_copies(mtq.Task("dot", wrong), 1, 0)


class Echo(Dynamics):
    """The state is the action that was taken."""

    observation_shape, num_actions, max_episode_steps = (1,), 10, 7

    def initial_state(self, random):
        return tf.zeros([random.shape[0], 1])

    def step(self, state, action, random):
        taken = tf.cast(action, tf.float32)
        return taken[:, None], taken, tf.zeros_like(taken, tf.bool)


def test_dynamics_without_random_numbers():
    copies = make_copies(mtq.Task("game", mtq.dynamics.minatar.SpaceInvaders), 2, 0)
    copies.reset()
    first, second = copies.step(np.array([5, 5])).observation
    assert (first == second).all()
    assert first[8, 5, 4] == 1  # the bullet


def test_sticky_actions_repeat_the_action_that_was_taken():
    dynamics = Sticky(Echo(), 0.25)
    assert (dynamics.max_episode_steps, dynamics.num_random, dynamics.num_actions) == (7, 2, 10)
    state = dynamics.initial_state(tf.zeros([4, 2]))
    chosen = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]]
    sticks = [[0.0, 0.9, 0.0, 0.9], [0.9, 0.1, 0.1, 0.3], [0.2, 0.2, 0.2, 0.25]]
    taken = []
    for actions, random in zip(chosen, sticks, strict=True):
        inputs = tf.constant(actions), tf.stack([tf.constant(random), tf.ones([4])], axis=1)
        state, reward, _ = dynamics.step(state, *inputs)
        taken.append(reward.numpy().tolist())
    assert taken == [[0, 2, 0, 4], [5, 2, 0, 8], [5, 2, 0, 9]]
    assert dynamics.observe(state).numpy().tolist() == [[5], [2], [0], [9]]


def test_sticky_actions_occur_as_often_as_they_should():
    dynamics = Sticky(Echo(), 0.25)
    random = tf.random.stateless_uniform([20_000, 2], (1, 2))
    _, reward, _ = dynamics.step(dynamics.initial_state(random), tf.ones([20_000], tf.int32), random)
    assert abs(float(tf.reduce_mean(reward)) - 0.75) < 4 * (0.25 * 0.75 / 20_000) ** 0.5


def test_other_dynamics_can_be_sticky_too():
    task = mtq.Task("catch", lambda: Sticky(Catch(), 0.5))
    assert task.spec == mtq.Task("catch", "in_graph/Catch").spec
    assert make_copies(task, 3, 0).reset().shape == (3, 50)
    with pytest.raises(ValueError, match=r"probability of Sticky must be from 0 to 1"):
        Sticky(Catch(), 1.1)


@pytest.mark.thorough
def test_the_environment_of_the_documentation_is_breakout():
    text = (Path(__file__).parents[2] / "docs" / "in_graph_environments.md").read_text()
    names = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "in_graph_environments.md", "exec"), names)
    assert names["s"].rocks.alive.numpy().sum() == 1
    theirs, ours = (make_copies(task, 20, 0) for task in (names["task"], mtq.suites.task("breakout")))
    np.testing.assert_array_equal(theirs.reset(), ours.reset())
    random = np.random.default_rng(0)
    for _ in range(200):
        actions = random.integers(6, size=20)
        for their, our in zip(theirs.step(actions), ours.step(actions), strict=True):
            np.testing.assert_array_equal(their, our)
