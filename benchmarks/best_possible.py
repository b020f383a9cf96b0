"""Computes the best possible discounted returns on the tasks of `recipes/deramo2020.py`.

    python -m benchmarks.best_possible

In CartPole and InvertedPendulum the best is never to fall; whether that is possible from every start is not proved
here. CarOnHill always starts in the same state and is deterministic, so all sequences of actions are tried. For
MountainCar, value iteration on a grid with bilinear interpolation gives a policy, whose mean return over the starts is
measured in the environment itself. The best return is at least that. How far above it may be is suggested by the mean
of the values (`mountain_car_values`), whose interpolation error has either sign and shrinks on finer grids. The best
return on Acrobot, whose state has four numbers, is unknown. The program takes half a minute.

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
    """Settings of the computation, which determine its accuracy."""

    positions: int = 1_200
    """The number of positions of the grid."""
    velocities: int = 800
    """The number of velocities of the grid."""
    starts: int = 2_000
    """The number of starts of MountainCar, evenly spaced."""
    tolerance: float = 1e-3
    """The largest change of a value at which value iteration ends."""


def balanced(reward: float, discount: float, steps: int) -> float:
    """Returns the discounted return of an episode with the same reward in each step until its time limit."""
    return reward * (1 - discount**steps) / (1 - discount)


def by_all_sequences(dynamics: Dynamics, discount: float) -> float:
    """Returns the best return of a deterministic environment with one start and rewards only at the end of episodes."""
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
    """Value iteration for a deterministic environment whose state has two numbers.

    Args:
        dynamics: The dynamics of the environment.
        discount: The discount γ.
        low: The lower bounds of the states, `[2]`.
        high: The upper bounds of the states, `[2]`.
        sizes: The number of grid points along both axes.
    """

    def __init__(
        self, dynamics: Dynamics, discount: float, low: np.ndarray, high: np.ndarray, sizes: tuple[int, int]
    ) -> None:
        self.dynamics, self.discount, self.low, self.high = dynamics, discount, low, high
        axes = [np.linspace(*ends) for ends in zip(low, high, sizes, strict=True)]
        self.grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
        self.values = np.zeros(sizes)

    def solve(self, tolerance: float) -> None:
        """Iterates until no value changes by more than the tolerance."""
        outcomes = self._outcomes(self.grid)
        change = np.inf
        while change > tolerance:
            values = np.max([self._look(*outcome) for outcome in outcomes], axis=0).reshape(self.values.shape)
            change = np.abs(values - self.values).max()
            self.values = values

    def of(self, states: np.ndarray) -> np.ndarray:
        """Returns the interpolated values, `[N]`, of states `[N, 2]`."""
        sizes = np.array(self.values.shape)
        places = (states - self.low) / (self.high - self.low) * (sizes - 1)
        return map_coordinates(self.values, places.T, order=1, mode="nearest")

    def play(self, states: np.ndarray, steps: int) -> np.ndarray:
        """Returns the discounted returns, `[N]`, of the greedy policy from states `[N, 2]`."""
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
        """Returns, for each action, the next states, the rewards, and whether the episodes terminate."""
        number, random = len(states), tf.zeros([len(states), self.dynamics.num_random])
        return [
            [np.asarray(each) for each in self.dynamics.step(tf.constant(states), tf.fill([number], action), random)]
            for action in range(self.dynamics.num_actions)
        ]

    def _look(self, states: np.ndarray, rewards: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        return rewards + self.discount * np.where(terminated, 0.0, self.of(states))


def mountain_car(dynamics: Dynamics, discount: float, options: Options) -> tuple[float, float]:
    """Returns the mean return over the starts of the greedy policy, and the mean of the values it is derived from."""
    low, high = np.array([-1.2, -0.07]), np.array([0.6, 0.07])
    iteration = ValueIteration(dynamics, discount, low, high, (options.positions, options.velocities))
    iteration.solve(options.tolerance)
    evenly = (np.arange(options.starts) + 0.5) / options.starts
    starts = dynamics.initial_state(tf.constant(evenly[:, None], tf.float32)).numpy()
    played = iteration.play(starts, dynamics.max_episode_steps or 1_000)
    return float(played.mean()), float(iteration.of(starts).mean())


def main(options: Options) -> None:
    """Computes and prints the best return of each task."""
    environments = {name: (task.make_environment(), task.discount) for name, task in tasks().items()}
    cart_pole, gamma = environments["cart_pole"]
    played, values = mountain_car(*environments["mountain_car"], options)
    best_returns = {
        "cart_pole": balanced(1.0, gamma, cart_pole.max_episode_steps),
        "mountain_car": played,
        "mountain_car_values": values,
        "car_on_hill": by_all_sequences(*environments["car_on_hill"]),
        "inverted_pendulum": 0.0,
    }
    for name, best in best_returns.items():
        print(f"{name:20} {best:9.4f}")
    print(json.dumps({"mtq": mtq.__version__, **dataclasses.asdict(options), "best": best_returns}))


if __name__ == "__main__":
    main(simple_parsing.parse(Options))
