"""Experience that starts over, and epochs that begin with new episodes."""

import numpy as np
import pytest

import mtq
from tests.toy_environments import Corridor, CountingEnvironment


def fresh(tasks, seed, **options):
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([8]), seed=0)
    model = mtq.MultiTaskDQN(network, tasks)
    return mtq.Experience(tasks, model, warmup_steps=8, replay_capacity=64, seed=seed, **options)


def batches(experience, number=12):
    """The first ones, as arrays."""
    drawn = iter(experience.dataset(16))
    return [
        np.concatenate([np.ravel(part) for part in next(drawn)[task]])
        for _ in range(number)
        for task in experience.tasks
    ]


@pytest.mark.parametrize("kind", ["in_graph", "gymnasium", "repeats"])
def test_after_reset_all_is_as_if_made_with_that_seed(kind):
    environment = "in_graph/CartPole" if kind == "in_graph" else "CartPole-v1"
    tasks = mtq.TaskSet([mtq.Task("a", environment, num_envs=2), mtq.Task("b", environment, num_envs=2)])
    exploration = mtq.exploration.EpsilonGreedy(0.5, repeat_exponent=2.0 if kind == "repeats" else None)
    used = fresh(tasks, seed=3, exploration=exploration)
    before = batches(used)
    used.take_mean_returns()
    used.reset(7)
    assert used.env_steps == {"a": 0, "b": 0}
    assert not used.is_warm
    expected = fresh(tasks, seed=7, exploration=exploration)
    for ours, theirs in zip(batches(used), batches(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert used.env_steps == expected.env_steps
    assert used.take_mean_returns() == expected.take_mean_returns()
    used.reset(3)
    for ours, theirs in zip(batches(used), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_reset_takes_a_seed():
    experience = fresh(mtq.TaskSet([mtq.Task("a", Corridor)]), seed=0)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        experience.reset(-1)


@pytest.mark.parametrize("num_envs", [1, 2])
def test_restart_ends_open_episodes_as_truncated(num_envs):
    """Three-step returns stop at the cut, bootstrap there, and never reach into the next episode."""
    tasks = mtq.TaskSet([mtq.Task("counting", CountingEnvironment, num_envs=num_envs, discount=0.5)])
    experience = fresh(tasks, seed=0, n_step=3, steps_per_update=num_envs)
    experience.warm_up()  # eight steps: the episode of 0 to 5, and one that is open
    memory = lambda row: experience.replays["counting"].read(np.array([row]))  # noqa: E731
    newest = 8 // num_envs - 1
    assert not memory(newest).is_last[0]
    experience.restart()
    cut = memory(newest)
    assert cut.is_last[0]
    assert cut.discount[0] == 1
    dataset = iter(experience.dataset(64))
    seen = set()
    for _ in range(10):
        batch = next(dataset)["counting"]
        episode, next_episode = batch.observation.numpy()[:, 0], batch.next_observation.numpy()[:, 0]
        np.testing.assert_array_equal(episode, next_episode)
        length = batch.next_observation.numpy()[:, 1] - batch.observation.numpy()[:, 1]
        np.testing.assert_allclose(batch.reward, sum(0.5**k * (length > k) for k in range(3)))
        seen |= set(zip(episode.tolist(), length.tolist(), strict=True))
    assert {length for _, length in seen} == {1, 2, 3}


def test_restart_begins_new_episodes_and_counts_no_return():
    tasks = mtq.TaskSet([mtq.Task("counting", CountingEnvironment)])
    experience = fresh(tasks, seed=0)
    experience.warm_up()
    experience.take_mean_returns()
    experience.restart()
    experience.next_batch(4)
    newest = experience.replays["counting"].read(np.array([8]))
    assert newest.observation.numpy()[0, 1] == 0  # its first step
    assert experience.take_mean_returns() == {"counting": None}
    for _ in range(4):
        experience.next_batch(4)
    assert experience.take_mean_returns() == {"counting": 5.0}


def test_restart_before_the_first_step_does_nothing_to_the_replay():
    tasks = mtq.TaskSet([mtq.Task("a", "in_graph/CartPole", num_envs=2)])
    experience = fresh(tasks, seed=0)
    experience.restart()
    assert not experience.replays["a"].read(np.arange(8)).is_last.numpy().any()
