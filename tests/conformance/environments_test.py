"""Tests of every task of mtq's suites as an environment, and of the adapter that steps several copies at once."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.environments import EnvironmentCopies, make_copies
from tests.interop import needs_tf_agents
from tests.toy_environments import Corridor, CountingEnvironment

ALWAYS_BEGIN_ALIKE = {"asterix", "seaquest", "space_invaders"}  # MinAtar's games whose first image is fixed


TASKS = {name: mtq.suites.task(name) for name in mtq.suites.names()}
TASKS |= {f"{name} of the package": task for name, task in mtq.suites.minatar(in_graph=False).items()}
DEFAULT = ("cart_pole", "acrobot", "mountain_car", "asterix of the package")


@pytest.fixture(params=[pytest.param(name, marks=() if name in DEFAULT else pytest.mark.thorough) for name in TASKS])
def task(request):
    return TASKS[request.param]


def play(task, num_copies, seed, steps=60):
    copies, random = make_copies(task, num_copies, seed, compiled=False), np.random.default_rng(0)
    first = copies.reset()
    return first, [copies.step(random.integers(task.num_actions, size=num_copies)) for _ in range(steps)]


def test_shapes_types_and_chaining(task):
    first, steps = play(task, 3, seed=1)
    shape, dtype = (3, *task.spec.observation_shape), np.dtype(task.spec.observation_dtype)
    acted_on = first
    for step in steps:
        for observation in (acted_on, step.next_observation, step.observation):
            assert observation.shape == shape
            assert observation.dtype == dtype
        same = ~step.is_last
        np.testing.assert_array_equal(step.observation[same], step.next_observation[same])
        assert set(step.discount) <= {0.0, 1.0}
        assert np.all(step.is_last[step.discount == 0])
        acted_on = step.observation


def test_the_same_seed_gives_the_same_episodes_and_copies_differ(task):
    (first, steps), (again, steps_again), (other, _) = (play(task, 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    for a, b in zip(steps, steps_again, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    states = [step.observation for step in steps]
    assert any(not np.array_equal(state[0], state[1]) for state in states)
    assert np.array_equal(other, first) == (task.name in ALWAYS_BEGIN_ALIKE)


def test_the_checker_is_content(task):
    mtq.environments.check_task(task)


def test_an_episode_that_ends_is_followed_by_the_next_in_the_same_step():
    copies = EnvironmentCopies(mtq.Task("counting", CountingEnvironment), 2, 0)
    copies.reset()
    for number in range(1, 16):
        step = copies.step(np.zeros(2, int))
        ends = number % 5 == 0
        episode = (number - 1) // 5
        np.testing.assert_array_equal(step.next_observation, [[episode, (number - 1) % 5 + 1]] * 2)
        np.testing.assert_array_equal(step.is_last, [ends] * 2)
        np.testing.assert_array_equal(step.discount, [0.0 if ends and episode % 2 else 1.0] * 2)
        np.testing.assert_array_equal(step.observation, [[episode + 1, 0] if ends else [episode, number % 5]] * 2)


def test_max_episode_steps_truncates():
    task = mtq.Task("mountain_car", "MountainCar-v0", max_episode_steps=7)
    _, steps = play(task, 2, seed=0, steps=14)
    assert [bool(step.is_last.all()) for step in steps] == [False] * 6 + [True] + [False] * 6 + [True]
    assert all((step.discount == 1).all() for step in steps)
    assert mtq.Task("limited", Corridor, max_episode_steps=2).make_environment().spec is None


def test_in_graph_time_steps_are_tf_agents_own():
    from mtq.environments.gymnasium_environment import GymnasiumEnvironment

    environment = GymnasiumEnvironment(mtq.Task("counting", CountingEnvironment, num_envs=2), seed=0)
    assert bool(tf.reduce_all(environment.reset().is_first()))
    for _ in range(5):
        ended, current = environment.step_and_restart(tf.zeros([2], tf.int32))
    assert bool(tf.reduce_all(ended.is_last()))
    assert bool(tf.reduce_all(current.is_first()))
    assert ended.observation.numpy().tolist() == [[0.0, 5.0]] * 2
    assert current.observation.numpy().tolist() == [[1.0, 0.0]] * 2


def test_discrete_observations_become_one_hot_and_actions_may_start_elsewhere():
    class Odd(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(4)
        action_space = gymnasium.spaces.Discrete(3, start=5)

        def reset(self, *, seed=None, options=None):
            return 2, {}

        def step(self, action):
            assert action in (5, 6, 7)
            return 3, float(action), False, False, {}

    task = mtq.Task("odd", Odd)
    assert (task.spec.observation_shape, task.num_actions) == ((4,), 3)
    copies = EnvironmentCopies(task, 1, 0)
    assert copies.reset().tolist() == [[0, 0, 1, 0]]
    step = copies.step(np.array([2]))
    assert step.observation.tolist() == [[0, 0, 0, 1]]
    assert step.reward.tolist() == [7.0]


def test_minatar_images_are_uint8_of_zeros_and_ones():
    for game, channels in {"asterix": 4, "breakout": 4, "freeway": 7, "seaquest": 10, "space_invaders": 6}.items():
        task = mtq.suites.task(game)
        assert task.spec.observation_shape == (10, 10, channels)
        assert (task.spec.observation_dtype, task.spec.observation_high, task.num_actions) == ("uint8", 1.0, 6)


@pytest.mark.parametrize("in_graph", [True, False])
def test_freeways_time_limit_truncates(in_graph):
    copies = make_copies(mtq.suites.minatar(["freeway"], in_graph=in_graph)["freeway"], 1, 0)
    copies.reset()
    step = [copies.step(np.zeros(1, int)) for _ in range(2_600)]
    (ended,) = [place for place, one in enumerate(step, start=1) if one.is_last.any()]
    assert ended == 2_500
    assert step[ended - 1].discount.tolist() == [1.0]


def test_a_limit_replaces_the_one_that_a_factorys_environment_has():
    task = mtq.Task("mountain_car", lambda: gymnasium.make("MountainCar-v0"), max_episode_steps=300)
    copies = EnvironmentCopies(task, 1, 0)
    copies.reset()
    lasts = [bool(copies.step(np.ones(1, int)).is_last[0]) for _ in range(300)]
    assert lasts == [False] * 299 + [True]
    assert task.reference_return is None  # Gymnasium's is for 200 steps


def test_what_an_info_says_of_a_discount_changes_no_terminal():
    class Talkative(Corridor):
        def step(self, action):
            return *super().step(action)[:4], {"discount": 0.95}

    copies = EnvironmentCopies(mtq.Task("talkative", Talkative), 1, 0)
    copies.reset()
    assert [copies.step(np.ones(1, int)).discount[0] for _ in range(3)] == [1.0, 1.0, 0.0]


@needs_tf_agents
def test_ids_without_a_version_and_tf_agents_classes():
    from tf_agents.environments import random_py_environment
    from tf_agents.specs import array_spec

    with pytest.warns(UserWarning, match="latest versioned environment"):
        assert mtq.Task("cart_pole", "CartPole").num_actions == 2

    class Ready(random_py_environment.RandomPyEnvironment):
        def __init__(self):
            super().__init__(array_spec.ArraySpec((2,), np.float32), array_spec.BoundedArraySpec((), np.int32, 0, 1))

    assert mtq.Task("ready", Ready).num_actions == 2


def test_numpys_numbers_are_numbers():
    task = mtq.Task("corridor", Corridor, weight=np.float32(0.5), num_envs=np.int64(2), discount=np.float64(0.9))
    assert (type(task.weight), type(task.num_envs), type(task.discount)) == (float, int, float)
