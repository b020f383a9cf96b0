"""Small environments whose every number is known."""

import gymnasium
import numpy as np
import tensorflow as tf

import mtq


class Corridor(gymnasium.Env):
    """States 0 … length − 1, one-hot. Action 1 moves right, 0 stays; past the end: reward 1 and a true terminal."""

    length = 3

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (self.length,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def _observe(self):
        return np.eye(self.length, dtype=np.float32)[min(self.position, self.length - 1)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = 0
        return self._observe(), {}

    def step(self, action):
        self.position += int(action)
        done = self.position >= self.length
        return self._observe(), float(done), done, False, {}


class CountingEnvironment(gymnasium.Env):
    """Observes (episode, step), each episode of an environment counted from its first reset; never of itself ends.

    Episodes end at `ends_at` steps: truncated where the episode's number is even, terminated where it is odd.
    """

    ends_at = 5
    steps = 0  # of all copies ever made

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.episode = -1

    def _observe(self):
        return np.array([self.episode, self.step_in_episode], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.step_in_episode = 0
        return self._observe(), {}

    def step(self, action):
        CountingEnvironment.steps += 1
        self.step_in_episode += 1
        ends = self.step_in_episode == self.ends_at
        odd = self.episode % 2 == 1
        return self._observe(), 1.0, ends and odd, ends and not odd, {}


class Broken(Corridor):
    """Returns what it is told to after a few steps."""

    def __init__(self, observation=None, reward=0.0):
        super().__init__()
        self.broken, self.reward, self.taken = observation, reward, 0

    def step(self, action):
        self.taken += 1
        observation = self._observe() if self.broken is None or self.taken < 3 else self.broken
        return observation, self.reward, False, False, {}


class Continuous(Corridor):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)


TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
"""The version of Taxi that the installed Gymnasium has; it returns masks in its infos."""


def legal_in(state, num_actions):
    """Which actions are legal in a state: about a third, and at least one."""
    actions = np.arange(num_actions)
    return ((7 * actions + 13 * state) % 10 < 3) | (actions == state % num_actions)


class Masked(gymnasium.Env):
    """States 0 … 99 at random, of which the mask is a function. An illegal action raises an error.

    Episodes end after eight steps on average, by a terminal, of which the mask is empty, or by a truncation.
    """

    num_actions = 30  # more than the bits of a column of the replay
    terminal = 100

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(self.num_actions)

    def mask(self):
        is_terminal = self.state == self.terminal
        return legal_in(self.state, self.num_actions).astype(np.int8) * (not is_terminal)

    def observe(self):
        return np.array([self.state, self.length], np.float32)

    def answer(self):
        return self.observe(), {"action_mask": self.mask()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.length = int(self.np_random.integers(self.terminal)), 0
        return self.answer()

    def step(self, action):
        assert self.mask()[action], f"illegal action {action} in state {self.state}"
        self.state, self.length = int(self.np_random.integers(self.terminal)), self.length + 1
        terminated = bool(self.np_random.random() < 0.06)
        truncated = not terminated and bool(self.np_random.random() < 0.06)
        self.state = self.terminal if terminated else self.state
        observation, info = self.answer()
        return observation, 1.0, terminated, truncated, info


class MaskedDict(Masked):
    """As `Masked`, with five actions that count from 1, and PettingZoo's observations."""

    num_actions = 5

    def __init__(self):
        super().__init__()
        mask = gymnasium.spaces.MultiBinary(self.num_actions)
        self.observation_space = gymnasium.spaces.Dict({"observation": self.observation_space, "action_mask": mask})
        self.action_space = gymnasium.spaces.Discrete(self.num_actions, start=1)

    def answer(self):
        return {"observation": self.observe(), "action_mask": self.mask()}, {}

    def step(self, action):
        return super().step(action - 1)


class MaskedDynamics(mtq.dynamics.Dynamics):
    """As `Masked`, in the graph. An illegal action has a reward of −1e6 in place of 1."""

    observation_shape, num_actions, num_random = (2,), 7, 3

    def initial_state(self, random):
        state = tf.floor(random[:, 0] * Masked.terminal)
        return tf.stack([state, tf.zeros_like(state)], axis=1)

    def step(self, state, action, random):
        is_legal = tf.gather(self.action_mask(state), action, batch_dims=1)
        terminated = random[:, 1] < 0.1
        reached = tf.where(terminated, float(Masked.terminal), tf.floor(random[:, 0] * Masked.terminal))
        return tf.stack([reached, state[:, 1] + 1], axis=1), tf.where(is_legal, 1.0, -1e6), terminated

    def action_mask(self, state):
        actions, number = np.arange(self.num_actions, dtype=np.int32), tf.cast(state[:, :1], tf.int32)
        mask = ((7 * actions + 13 * number) % 10 < 3) | tf.equal(actions, number % self.num_actions)
        return mask & (number < Masked.terminal)
