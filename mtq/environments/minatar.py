"""MinAtar's five games as Gymnasium environments.

Reference: Young and Tian, "MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement Learning
Experiments", 2019.
"""

from typing import Any

import gymnasium
import numpy as np

from mtq.tasks.gymnasium_ids import MINATAR_GAMES

FREEWAY_FRAMES = 2_500


class MinAtar(gymnasium.Env):
    """One game: images `[10, 10, channels]` uint8 of zeros and ones, and all six actions.

    Freeway ends after 2,500 frames and by nothing else, and its images do not show the time: here that is a time limit,
    past which values are bootstrapped, where the paper's own DQN takes it for a terminal. The package itself asks for
    the limit one frame too late, so the frames are counted here.

    Args:
        game: One of `mtq.gymnasium_ids.MINATAR_GAMES`.
        sticky_action_probability: With which the last action is taken again in place of the one chosen.
        difficulty_ramping: Whether the game becomes harder with time.

    Raises:
        ImportError: The package `minatar` is not installed.
        ValueError: There is no such game.
    """

    def __init__(self, game: str, sticky_action_probability: float = 0.1, difficulty_ramping: bool = True) -> None:
        if game not in MINATAR_GAMES:
            raise ValueError(f"game must be one of {MINATAR_GAMES}. Received: {game!r}.")
        try:
            import minatar
        except ImportError as error:
            raise ImportError("MinAtar's games need the package minatar: pip install minatar.") from error
        self._limit = FREEWAY_FRAMES if game == "freeway" else None
        self._frames = 0
        self._game = minatar.Environment(game, sticky_action_probability, difficulty_ramping)
        self.observation_space = gymnasium.spaces.Box(0, 1, tuple(self._game.state_shape()), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(self._game.num_actions())

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.reset()
        self._game.last_action, self._frames = 0, 0
        return self._game.state().view(np.uint8), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one frame."""
        reward, ended = self._game.act(int(action))
        self._frames += 1
        terminated = bool(ended) and self._limit is None
        truncated = self._limit is not None and self._frames >= self._limit
        return self._game.state().view(np.uint8), float(reward), terminated, truncated, {}
