"""mtq on Atari games through `fit`, its updates only, and the environments only."""

import keras
import numpy as np

import mtq
from benchmarks.systems.mtq_fit import MtqInGraph, UpdatesOnly
from benchmarks.systems.work import Work
from mtq.environments import make_copies

GAMES = ("ALE/Pong-v5", "ALE/Breakout-v5")


def game(work: Work, i: int) -> mtq.Task:
    """Returns the game with index `i`; the games are repeated if there are more than two."""
    return mtq.Task(f"task_{i}", GAMES[i % len(GAMES)], num_envs=work.num_envs)


class Atari(MtqInGraph):
    """mtq on Atari games in one network, with the network of Mnih et al. (2015) and normalized gradients."""

    def task(self, i: int) -> mtq.Task:
        """Returns the game with index `i`."""
        return game(self.work, i)

    def make_network(self) -> keras.Model:
        """Returns three convolutions, a dense layer, and a head for each game."""
        backbone = mtq.networks.nature_cnn(units=self.work.hidden)
        return mtq.networks.shared_q_network(self.tasks, backbone=backbone, seed=0)


class AtariUpdate(UpdatesOnly, Atari):
    """Updates only, on four batches in turn."""

    num_batches = 4


class AtariEnvironments:
    """The environments only: as many steps as accompany the updates, with random actions."""

    round_to = 1

    def __init__(self, work: Work) -> None:
        self.work, self._steps = work, 0
        self._copies = [make_copies(game(work, i), work.num_envs, seed=i) for i in range(work.tasks)]
        for copies in self._copies:
            copies.reset()
        self._random = np.random.default_rng(0)

    def run(self, updates: int) -> None:
        """Takes the steps that accompany a number of updates."""
        for _ in range(updates):
            for copies in self._copies:
                copies.step(self._random.integers(copies.task.num_actions, size=self.work.num_envs))
        self._steps += updates * self.work.num_envs * self.work.tasks

    def env_steps(self) -> int:
        """Returns the number of environment steps so far, for all tasks together."""
        return self._steps
