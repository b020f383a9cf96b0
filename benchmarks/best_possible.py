"""How good a policy can be at all on the tasks of `recipes/deramo2020.py`, in discounted returns.

    python -m benchmarks.best_possible

In CartPole and InvertedPendulum nothing is better than not to fall; whether that can be done from every start is not
proved here. CarOnHill always begins in one state and nothing in it is random: all sequences of actions are tried.
MountainCar's is by value iteration on a grid, with bilinear interpolation: the mean return, over starts, of the policy
that is greedy for the values found, played in the environment itself. The best is that or above it; how far, the mean
of the values themselves (`mountain_car_values`) suggests, whose interpolation errs either way and less on finer grids.
Acrobot, with four numbers of state, is not known. It takes half a minute.

The last line is one JSON object.
"""

import dataclasses
import json

import numpy as np
import simple_parsing
import tensorflow as tf
from scipy.ndimage import map_coordinates

import mtq
from mtq.dynamics import Dynamics
from recipes.deramo2020 import tasks


@dataclasses.dataclass
class Options:
    """How closely."""

    positions: int = 1_200
    """Of the grid."""
    velocities: int = 800
    """Of the grid."""
    starts: int = 2_000
    """Evenly over all of MountainCar's starts."""
    tolerance: float = 1e-3
    """At the largest change of a value by which iteration ends."""


def balanced(reward: float, discount: float, steps: int) -> float:
    """The return of an episode that goes on to its limit."""
    return reward * (1 - discount**steps) / (1 - discount)


def by_all_sequences(dynamics: Dynamics, discount: float) -> float:
    """The best return of a deterministic environment with one start and a reward at the end of an episode only."""
    states = dynamics.initial_state(tf.zeros([1, dynamics.num_random]))
    for step in range(24):
        states = tf.repeat(states, dynamics.num_actions, axis=0)
        actions = tf.range(len(states)) % dynamics.num_actions
        states, rewards, terminated = dynamics.step(states, actions, tf.zeros([len(states), dynamics.num_random]))
        if float(tf.reduce_max(rewards)) > 0:
            return discount**step * float(tf.reduce_max(rewards))
        states = states[~terminated]
    raise ValueError("No sequence of 24 actions ends in a reward.")


class ValueIteration:
    """Values of a deterministic environment whose state is two numbers.

    Args:
        dynamics: Of the environment.
        discount: γ.
        low: Of the states, `[2]`.
        high: Likewise.
        sizes: Points of the grid along both.
    """

    def __init__(
        self, dynamics: Dynamics, discount: float, low: np.ndarray, high: np.ndarray, sizes: tuple[int, int]
    ) -> None:
        self.dynamics, self.discount, self.low, self.high = dynamics, discount, low, high
        axes = [np.linspace(*ends) for ends in zip(low, high, sizes, strict=True)]
        self.grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
        self.values = np.zeros(sizes)

    def solve(self, tolerance: float) -> None:
        """Iterates until no value changes by more."""
        outcomes = self._outcomes(self.grid)
        change = np.inf
        while change > tolerance:
            values = np.max([self._look(*outcome) for outcome in outcomes], axis=0).reshape(self.values.shape)
            change = np.abs(values - self.values).max()
            self.values = values

    def of(self, states: np.ndarray) -> np.ndarray:
        """The values of states `[N, 2]`, `[N]`."""
        sizes = np.array(self.values.shape)
        places = (states - self.low) / (self.high - self.low) * (sizes - 1)
        return map_coordinates(self.values, places.T, order=1, mode="nearest")

    def play(self, states: np.ndarray, steps: int) -> np.ndarray:
        """The discounted returns, `[N]`, of playing greedily from states `[N, 2]`."""
        returns, is_open = np.zeros(len(states)), np.ones(len(states), bool)
        for step in range(steps):
            outcomes = self._outcomes(states)
            best = np.argmax([self._look(*outcome) for outcome in outcomes], axis=0)
            states, rewards, terminated = (
                np.stack(each)[best, np.arange(len(best))] for each in zip(*outcomes, strict=True)
            )
            returns += np.where(is_open, self.discount**step * rewards, 0.0)
            is_open &= ~terminated
            if not is_open.any():
                break
        return returns

    def _outcomes(self, states: np.ndarray) -> list[list[np.ndarray]]:
        """Of each action from all states: the next ones, rewards, and whether it ended there."""
        many, random = len(states), tf.zeros([len(states), self.dynamics.num_random])
        return [
            [np.asarray(each) for each in self.dynamics.step(tf.constant(states), tf.fill([many], action), random)]
            for action in range(self.dynamics.num_actions)
        ]

    def _look(self, states: np.ndarray, rewards: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        return rewards + self.discount * np.where(terminated, 0.0, self.of(states))


def mountain_car(dynamics: Dynamics, discount: float, options: Options) -> tuple[float, float]:
    """The mean over starts of the returns of the policy found, and of the values that it is greedy for."""
    low, high = np.array([-1.2, -0.07]), np.array([0.6, 0.07])
    iteration = ValueIteration(dynamics, discount, low, high, (options.positions, options.velocities))
    iteration.solve(options.tolerance)
    evenly = (np.arange(options.starts) + 0.5) / options.starts
    starts = dynamics.initial_state(tf.constant(evenly[:, None], tf.float32)).numpy()
    played = iteration.play(starts, dynamics.max_episode_steps or 1_000)
    return float(played.mean()), float(iteration.of(starts).mean())


def main(options: Options) -> None:
    """Prints a line for each task."""
    of = {name: (task.make_environment(), task.discount) for name, task in tasks().items()}
    cart_pole, gamma = of["cart_pole"]
    played, values = mountain_car(*of["mountain_car"], options)
    found = {
        "cart_pole": balanced(1.0, gamma, cart_pole.max_episode_steps),
        "mountain_car": played,
        "mountain_car_values": values,
        "car_on_hill": by_all_sequences(*of["car_on_hill"]),
        "inverted_pendulum": 0.0,
    }
    for name, best in found.items():
        print(f"{name:20} {best:9.4f}")
    print(json.dumps({"mtq": mtq.__version__, **dataclasses.asdict(options), "best": found}))


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
