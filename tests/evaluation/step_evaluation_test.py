"""Scores over a fixed number of steps."""

import numpy as np
import pytest

import mtq
from mtq.dynamics import Chain
from mtq.evaluation.step_evaluator import StepEvaluator
from tests.toy_environments import Corridor, CountingEnvironment


def model_of(tasks, prefers=None):
    """One whose greedy action is always the same, `prefers`."""
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0)
    for name, task in tasks.items():
        layer = network.get_layer(f"{name}_q_values")
        kernel, bias = layer.get_weights()
        if prefers is not None:
            layer.set_weights([np.zeros_like(kernel), np.eye(task.num_actions, dtype=bias.dtype)[prefers]])
    model = mtq.MultiTaskDQN(network, tasks)
    model.compile()
    return model


@pytest.mark.parametrize("environment", [lambda: Chain(4), Corridor], ids=["in_graph", "gymnasium"])
def test_discounted_return_of_finished_episodes(environment):
    """Moving on all the time ends an episode at every fourth step, or third, with a reward of 1."""
    source = environment if environment is Corridor else environment()
    tasks = mtq.TaskSet([mtq.Task("a", source, discount=0.9)])
    length = 3 if environment is Corridor else 4
    assert StepEvaluator(model_of(tasks, prefers=1), steps=10).greedy()["a"] == pytest.approx(0.9 ** (length - 1))


@pytest.mark.parametrize("environment", [lambda: Chain(4, max_episode_steps=None), Corridor], ids=["in_graph", "gym"])
def test_nothing_finished_is_zero(environment):
    source = environment if environment is Corridor else environment()
    tasks = mtq.TaskSet([mtq.Task("a", source)])
    assert StepEvaluator(model_of(tasks, prefers=0), steps=50).greedy() == {"a": 0.0}


def test_time_limits_finish_episodes_and_the_last_open_one_does_not_count():
    """Rewards of 1 for five steps; of twelve steps the last two are of an open episode."""
    tasks = mtq.TaskSet([mtq.Task("counting", CountingEnvironment, discount=0.5)])
    score = StepEvaluator(model_of(tasks), steps=12).greedy()["counting"]
    assert score == pytest.approx(1 + 0.5 + 0.25 + 0.125 + 0.0625)


@pytest.mark.thorough
def test_in_graph_and_gymnasium_agree_on_cart_pole():
    """Always to the left: the pole falls after about nine steps, wherever one begins."""
    both = [mtq.Task("ours", "in_graph/CartPole"), mtq.Task("theirs", "CartPole-v1")]
    tasks = mtq.TaskSet(both)
    evaluator = StepEvaluator(model_of(tasks, prefers=0), steps=2_000)
    scores = evaluator.greedy(seed=1)
    assert scores["ours"] == pytest.approx(scores["theirs"], rel=0.02)
    assert scores == evaluator.greedy(seed=1)
    assert scores != evaluator.greedy(seed=2)


def test_random_policy():
    tasks = mtq.TaskSet([mtq.Task("ours", "in_graph/CartPole"), mtq.Task("theirs", "CartPole-v1")])
    scores = StepEvaluator(None, tasks, steps=4_000).random(seed=0)
    assert scores["ours"] == pytest.approx(scores["theirs"], rel=0.15)
    assert 15 < scores["ours"] < 25  # about 22 steps


@pytest.mark.thorough
def test_random_policy_many_times_is_the_mean_over_them():
    tasks = mtq.TaskSet([mtq.Task("ours", Chain(2)), mtq.Task("theirs", Corridor)])
    evaluator = StepEvaluator(None, tasks, steps=40)
    singly = [evaluator.random(seed)["theirs"] for seed in range(3)]
    assert len(set(singly)) > 1
    assert evaluator.random(times=3)["theirs"] == pytest.approx(np.mean(singly))
    once, often = ([evaluator.random(seed, times)["ours"] for seed in range(20, 40)] for times in (1, 100))
    assert np.mean(often) == pytest.approx(np.mean(once), abs=4 * np.std(once) / 20**0.5)
    assert 4 < np.std(once) / np.std(often) < 25  # about the root of a hundred


def test_steps_must_be_some():
    with pytest.raises(ValueError, match="steps of StepEvaluator must be an integer of at least 1"):
        StepEvaluator(None, mtq.TaskSet([mtq.Task("a", Corridor)]), steps=0)
    with pytest.raises(ValueError, match=r"times of StepEvaluator\.random must be an integer of at least 1"):
        StepEvaluator(None, mtq.TaskSet([mtq.Task("a", Corridor)])).random(times=0)
