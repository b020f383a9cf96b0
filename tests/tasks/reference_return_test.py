"""A reference return holds for the time limit, the rewards and the settings that it was given for."""

import copy
import dataclasses
import json
import pickle

import gymnasium
import pytest

import mtq
from mtq.dynamics import Acrobot, CartPole, Catch, Chain, MountainCar


def with_fixed_statistics(environment):
    """A running normalization is refused as it is."""
    environment = gymnasium.wrappers.NormalizeReward(environment)
    environment.update_running_mean = False
    return environment


def cart_pole(wrapper=None, **options):
    def make():
        environment = gymnasium.make("CartPole-v1", **options)
        return environment if wrapper is None else wrapper(environment)

    return make


class TenTimes(gymnasium.Wrapper):
    """Rewards of its own, in a wrapper that is no RewardWrapper."""

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, 10 * reward, *rest


class FromTheTop(gymnasium.Wrapper):
    def reset(self, **options):
        return self.env.reset(**options)


class Squashed(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return observation


class Swapped(gymnasium.ActionWrapper):
    def action(self, action):
        return 1 - action


class OtherCartPole(CartPole):
    def step(self, state, action, random):
        state, reward, terminated = super().step(state, action, random)
        return state, 10 * reward, terminated


class RatedCartPole(OtherCartPole):
    reward_threshold = 4750.0


for number, threshold in enumerate([float("nan"), float("inf"), "high", True]):
    gymnasium.register(f"MtqThreshold{number}-v0", "tests.toy_environments:Corridor", reward_threshold=threshold)

HOLDS = {
    "an id": ("CartPole-v1", {}, 475.0),
    "the same limit": ("CartPole-v1", {"max_episode_steps": 500}, 475.0),
    "a factory": (cart_pole(), {}, 475.0),
    "a factory with the same limit": (cart_pole(), {"max_episode_steps": 500}, 475.0),
    "a wider limit outside": (cart_pole(lambda env: gymnasium.wrappers.TimeLimit(env, 900)), {}, 475.0),
    "observations wrapped": (cart_pole(gymnasium.wrappers.FlattenObservation), {}, 475.0),
    "observations of one's own": (cart_pole(Squashed), {}, 475.0),
    "actions of one's own": (cart_pole(Swapped), {}, 475.0),
    "a subclass with a threshold": (RatedCartPole(), {}, 4750.0),
    "drawn": (cart_pole(render_mode="rgb_array"), {}, 475.0),
    "in the graph": ("in_graph/CartPole", {}, 475.0),
    "in the graph with the same limit": ("in_graph/CartPole", {"max_episode_steps": 500}, 475.0),
    "dynamics": (MountainCar(), {}, -110.0),
    "dynamics without a limit": (Catch(), {}, 1.0),
    "given": ("CartPole-v1", {"max_episode_steps": 50, "reference_return": 45.0}, 45.0),
    "given, in the graph": (CartPole(50), {"reference_return": 45.0}, 45.0),
}
DOES_NOT = {
    "a shorter limit": ("CartPole-v1", {"max_episode_steps": 50}),
    "a longer limit": ("MountainCar-v0", {"max_episode_steps": 1_000}),
    "a factory with a limit of its own": (cart_pole(max_episode_steps=50), {}),
    "a factory without a limit": (cart_pole(max_episode_steps=-1), {}),
    "a factory under another limit": (cart_pole(), {"max_episode_steps": 50}),
    "a tighter limit outside": (cart_pole(lambda env: gymnasium.wrappers.TimeLimit(env, 50)), {}),
    "other rewards": (cart_pole(lambda env: gymnasium.wrappers.TransformReward(env, lambda r: r / 10)), {}),
    "clipped rewards": (cart_pole(lambda env: gymnasium.wrappers.ClipReward(env, 0, 1)), {}),
    "normalized rewards": (cart_pole(with_fixed_statistics), {}),
    "rewards of one's own": (cart_pole(TenTimes), {}),
    "starts of one's own": (cart_pole(FromTheTop), {}),
    "sticky actions": (cart_pole(lambda env: gymnasium.wrappers.StickyAction(env, 0.25)), {}),
    "repeated actions": (cart_pole(lambda env: gymnasium.wrappers.RepeatAction(env, 2)), {}),
    "late observations": (cart_pole(lambda env: gymnasium.wrappers.DelayObservation(env, 2)), {}),
    "a subclass with rewards of its own": (OtherCartPole(), {}),
    **{f"no number {number}": (f"MtqThreshold{number}-v0", {}) for number in range(4)},
    "another setting": (cart_pole(sutton_barto_reward=True), {}),
    "in the graph": ("in_graph/CartPole", {"max_episode_steps": 50}),
    "dynamics under another limit": (Acrobot(), {"max_episode_steps": 100}),
    "dynamics with a limit": (CartPole(50), {}),
    "dynamics without their limit": (CartPole(None), {}),
    "dynamics with another limit": (CartPole().with_limit(50), {}),
    "a factory of dynamics": (lambda: CartPole(50), {}),
    "none at all": (Chain(), {}),
}


@pytest.mark.parametrize("case", HOLDS)
def test_a_reference_that_holds(case):
    environment, options, reference = HOLDS[case]
    assert mtq.Task("a", environment, **options).reference_return == reference


@pytest.mark.parametrize("case", DOES_NOT)
def test_a_reference_of_another_task(case):
    environment, options = DOES_NOT[case]
    assert mtq.Task("a", environment, **options).reference_return is None


def test_the_limit_and_back():
    assert mtq.Task("a", CartPole().with_limit(50).with_limit(500)).reference_return == 475.0


def test_what_was_read_is_read_anew_for_another_task():
    task = mtq.Task("a", "CartPole-v1", discount=0.9)
    for same in (copy.deepcopy(task), pickle.loads(pickle.dumps(task)), task, dataclasses.replace(task, weight=2.0)):
        assert dataclasses.replace(same, discount=0.5).reference_return == 475.0
        assert dataclasses.replace(same, max_episode_steps=500).reference_return == 475.0
        assert dataclasses.replace(same, max_episode_steps=50).reference_return is None
        assert dataclasses.replace(same, environment="CartPole-v0").reference_return == 195.0
        assert dataclasses.replace(same, environment="Acrobot-v1", spec=None).reference_return == -100.0
        assert dataclasses.replace(same, environment=cart_pole(TenTimes)).reference_return is None
    short = dataclasses.replace(task, max_episode_steps=50)
    assert dataclasses.replace(short, environment="in_graph/CartPole", spec=None).reference_return is None
    given = mtq.Task("a", "CartPole-v1", reference_return=400.0)
    assert dataclasses.replace(given, max_episode_steps=50).reference_return == 400.0
    config = json.loads(json.dumps(task.get_config()))
    assert type(task.get_config()["reference_return"]) is float
    assert mtq.Task.from_config(config).reference_return == 475.0
    assert dataclasses.replace(task, environment=None).reference_return is None


def test_the_tasks_that_mtq_brings_have_references():
    assert mtq.suites.task("mountain_car").reference_return == -110.0
    in_order = [task.reference_return for task in mtq.suites.classic_control().values()]
    assert in_order == [475.0, -100.0, -110.0]
    assert [task.reference_return for task in mtq.suites.classic_control(in_graph=True).values()] == in_order
