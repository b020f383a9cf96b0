"""Small environments whose every number is known."""

import gymnasium
import numpy as np


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
