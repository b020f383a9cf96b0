"""Taxi is learned, and with masks faster than without."""

import keras
import pytest

import mtq
from tests.toy_environments import TAXI

pytestmark = pytest.mark.slow
SOLVED = 7.5  # of 7.92, the best mean return of these episodes
EVERY, MOST = 2_000, 100_000


def steps_to_solve(seed, action_mask, most):
    """Trains until the mean return of 100 greedy episodes is enough; returns the number of steps, None if too many."""
    tasks = mtq.TaskSet([mtq.Task("taxi", TAXI, num_envs=8, action_mask=action_mask)])
    network = mtq.networks.shared_q_network(tasks, mtq.networks.mlp([256]), seed=seed)
    model = mtq.MultiTaskDQN(network, tasks, double=True, target_update_period=200)
    model.compile(keras.optimizers.Adam(1e-3), "huber")
    exploration = mtq.exploration.linear(1.0, 0.05, 20_000)
    experience = mtq.Experience(model, exploration=exploration, replay_capacity=100_000, steps_per_update=8, seed=seed)
    evaluator = mtq.evaluation.Evaluator(model, episodes=100, max_steps=200)
    while experience.env_steps["taxi"] < most:
        model.fit(experience.batches(128), steps_per_epoch=EVERY // 8, verbose=0)
        if evaluator.greedy(seed=2)["taxi"].mean >= SOLVED:
            return experience.env_steps["taxi"]
    return None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_taxi(seed):
    with_masks = steps_to_solve(seed, None, MOST)
    assert with_masks is not None
    assert steps_to_solve(seed, False, with_masks) is None
