"""mtq on MinAtar's games through `fit`: in the graph, with the package's games, and updates only."""

import keras

import mtq
from benchmarks.systems.mtq_fit import MtqInGraph, UpdatesOnly

GAMES = ("breakout", "asterix", "freeway", "seaquest", "space_invaders")


class MinAtarInGraph(MtqInGraph):
    """mtq on the in-graph games, with the network of Young and Tian (2019), Double DQN and normalized gradients."""

    double, in_graph = True, True

    def task(self, i: int) -> mtq.Task:
        """Returns the game with index `i`."""
        game = GAMES[i % len(GAMES)]
        (task,) = mtq.suites.minatar([game], in_graph=self.in_graph).values()
        return mtq.Task(f"task_{i}", task.environment, num_envs=self.work.num_envs)

    def make_network(self) -> keras.Model:
        """Returns a convolution with 16 filters of 3×3, a dense layer, and a head for each game."""
        backbone = mtq.networks.minatar_cnn(units=self.work.hidden)
        return mtq.networks.shared_q_network(self.tasks, backbone=backbone, seed=0)


class MinAtarPackage(MinAtarInGraph):
    """mtq on the games of the package `minatar`, which are stepped in Python."""

    in_graph = False


class MinAtarUpdate(UpdatesOnly, MinAtarInGraph):
    """Updates only, on four batches in turn."""

    num_batches = 4
