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
    """One of MinAtar's games, with binary images `[10, 10, channels]` uint8 as observations and all six actions.

    Freeway only ends after 2,500 frames, and its images do not show the time. This class treats that end as a time
    limit, past which values are bootstrapped; the DQN of the paper treats it as a terminal. The package checks the
    limit one frame too late, so this class counts the frames itself.

    Args:
        game: The name of the game, one of `mtq.tasks.gymnasium_ids.MINATAR_GAMES`.
        sticky_action_probability: The probability of repeating the last action instead of taking the chosen one.
        difficulty_ramping: Whether the game becomes harder over time.

    Raises:
        ImportError: The package `minatar` is not installed.
        ValueError: `game` is not the name of a game.
    """

    def __init__(self, game: str, sticky_action_probability: float = 0.1, difficulty_ramping: bool = True) -> None:
        if game not in MINATAR_GAMES:
            raise ValueError(f"game must be one of {MINATAR_GAMES}. Received: {game!r}. Choose one of these names.")
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
        """Starts an episode.

        Args:
            seed: The seed of the game's random numbers; None to continue with the current ones.
            options: Ignored.

        Returns:
            The first observation, `[10, 10, channels]` uint8, and an empty dict.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.reset()
        self._game.last_action, self._frames = 0, 0
        return self._game.state().view(np.uint8), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one frame.

        Args:
            action: The action, from 0 to 5.

        Returns:
            The observation, the reward, whether the episode terminated, whether it was truncated, and an empty dict.
        """
        reward, ended = self._game.act(int(action))
        self._frames += 1
        terminated = bool(ended) and self._limit is None
        truncated = self._limit is not None and self._frames >= self._limit
        return self._game.state().view(np.uint8), float(reward), terminated, truncated, {}
