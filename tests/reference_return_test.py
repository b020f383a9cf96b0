"""A reference return holds for the time limit, the rewards and the settings that it was given for."""

import mtq

# isort: split
import gymnasium
import pytest

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


HOLDS = {
    "an id": ("CartPole-v1", {}, 475.0),
    "the same limit": ("CartPole-v1", {"max_episode_steps": 500}, 475.0),
    "a factory": (cart_pole(), {}, 475.0),
    "a factory with the same limit": (cart_pole(), {"max_episode_steps": 500}, 475.0),
    "a wider limit outside": (cart_pole(lambda env: gymnasium.wrappers.TimeLimit(env, 900)), {}, 475.0),
    "observations wrapped": (cart_pole(gymnasium.wrappers.FlattenObservation), {}, 475.0),
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


def test_the_tasks_that_mtq_brings_have_references():
    assert mtq.suites.task("mountain_car").reference_return == -110.0
    in_order = [task.reference_return for task in mtq.suites.classic_control().values()]
    assert in_order == [475.0, -100.0, -110.0]
    assert [task.reference_return for task in mtq.suites.classic_control(in_graph=True).values()] == in_order
