"""Time limits that a task's own replaces, and wrappers that a task cannot have."""

import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import (
    NormalizeObservation,
    NormalizeReward,
    OrderEnforcing,
    RecordEpisodeStatistics,
    RepeatAction,
    TimeAwareObservation,
    TimeLimit,
)

import mtq
from mtq.environments import EnvironmentCopies
from tests.messages import error
from tests.toy_environments import Corridor


class Endless(Corridor):
    def step(self, action):
        return self._observe(), 1.0, False, False, {}


class Holder(gymnasium.Env):
    """Holds an environment without being a wrapper, and not by one name alone."""

    def __init__(self, env):
        self._inner, self.others = env, [env]
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed=None, options=None):
        return self._inner.reset(seed=seed, options=options)

    def step(self, action):
        return self.others[0].step(action)


class Row(Holder):
    """The one row of a vector environment."""

    def __init__(self, env):
        self.env = env
        self.observation_space, self.action_space = env.single_observation_space, env.single_action_space

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed, options=options)[0][0], {}

    def step(self, action):
        return (*(part[0] for part in self.env.step(np.array([action]))[:4]), {})


NESTED = {
    "none": Endless,
    "one": lambda: TimeLimit(Endless(), 5),
    "nested": lambda: TimeLimit(TimeLimit(Endless(), 5), 7),
    "the longer within": lambda: TimeLimit(TimeLimit(Endless(), 70), 5),
    "thrice, with others between": lambda: TimeLimit(
        OrderEnforcing(TimeLimit(RecordEpisodeStatistics(TimeLimit(Endless(), 4)), 5)), 50
    ),
    "made by Gymnasium": lambda: TimeLimit(gymnasium.make("MountainCar-v0"), 500),
    "below repeated actions": lambda: RepeatAction(TimeLimit(Endless(), 8), 4),
    "in an attribute": lambda: TimeLimit(Holder(TimeLimit(Endless(), 4)), 8),
    "in a vector environment": lambda: Row(gymnasium.vector.SyncVectorEnv([lambda: TimeLimit(Endless(), 4)])),
    "copied": lambda: copy.deepcopy(TimeLimit(TimeLimit(Endless(), 5), 7)),
}


def length_of_an_episode(task):
    copies = EnvironmentCopies(task, 1, 0)
    for _ in range(2):  # the second episode is as long
        copies.reset()
        steps = 1
        while not copies.step(np.zeros(1, int)).is_last[0]:
            steps += 1
    return steps


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("limit", [3, 12])
def test_one_limit_replaces_all(name, limit):
    assert length_of_an_episode(mtq.Task("a", NESTED[name], max_episode_steps=limit)) == limit


def test_limits_stay_where_the_task_has_none():
    assert length_of_an_episode(mtq.Task("a", lambda: TimeLimit(TimeLimit(Endless(), 5), 7))) == 5


def test_a_limit_replaces_those_of_an_id_and_of_its_entry_point():
    gymnasium.register("mtq_test/Limited-v0", lambda: TimeLimit(TimeLimit(Endless(), 5), 4), max_episode_steps=7)
    try:
        task = mtq.Task("a", "mtq_test/Limited-v0", max_episode_steps=9)
        assert length_of_an_episode(task) == 9
        assert task.make_environment().spec.max_episode_steps == 9
    finally:
        del gymnasium.registry["mtq_test/Limited-v0"]


class Patient(TimeLimit):
    def step(self, action):
        return (*super().step(action)[:1], -1.0, False, False, {})


def test_limits_that_are_more_than_limits():
    with pytest.raises(ValueError, match=error("max_episode_steps of task 'a'", "Received: Patient", "Set the limit")):
        mtq.Task("a", lambda: Patient(Endless(), 5), max_episode_steps=9)
    seen = lambda: TimeAwareObservation(TimeLimit(Endless(), 5))  # noqa: E731
    with pytest.raises(ValueError, match=error("max_episode_steps of task 'a'", "TimeAwareObservation", "Received: 9")):
        mtq.Task("a", seen, max_episode_steps=9)
    assert length_of_an_episode(mtq.Task("a", seen, max_episode_steps=5)) == 5


vector = gymnasium.wrappers.vector
NORMALIZED = {
    "observation": lambda: NormalizeObservation(Endless()),
    "reward": lambda: NormalizeReward(Endless()),
    "below others": lambda: TimeLimit(OrderEnforcing(NormalizeReward(Endless())), 5),
    "in an attribute": lambda: Holder(NormalizeObservation(Endless())),
    "of a vector environment": lambda: Row(vector.NormalizeObservation(gymnasium.vector.SyncVectorEnv([Endless]))),
    "of a vector's rewards": lambda: Row(vector.NormalizeReward(gymnasium.vector.SyncVectorEnv([Endless]))),
    "in a vector environment": lambda: Row(gymnasium.vector.SyncVectorEnv([lambda: NormalizeReward(Endless())])),
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_running_normalization_is_refused(name):
    kind = "reward" if "eward" in name or name in ("below others", "in a vector environment") else "observation"
    remedy = {"reward": "reward_scale", "observation": "keras.layers.Normalization"}[kind]
    with pytest.raises(ValueError, match=error("'a' must not use running normalization", "Normalize", remedy)):
        mtq.Task("a", NORMALIZED[name])


def test_running_normalization_in_an_id_is_refused():
    gymnasium.register(
        "mtq_test/Normalized-v0", Endless, additional_wrappers=(NormalizeObservation.wrapper_spec(epsilon=1e-8),)
    )
    try:
        with pytest.raises(ValueError, match="must not use running normalization"):
            mtq.Task("a", "mtq_test/Normalized-v0")
    finally:
        del gymnasium.registry["mtq_test/Normalized-v0"]


def test_statistics_that_are_fixed_are_no_running_ones():
    def fixed():
        environment = NormalizeObservation(Endless())
        environment.obs_rms.mean, environment.obs_rms.var = np.full(3, 0.5), np.full(3, 0.25)
        environment.update_running_mean = False
        return environment

    copies = EnvironmentCopies(mtq.Task("a", fixed), 1, 0)
    np.testing.assert_allclose(copies.reset(), [[1.0, -1.0, -1.0]], rtol=1e-5)
