"""Stable-Baselines3's `DQN` on MinAtar's Breakout, with the network of Young and Tian (2019)."""

from typing import Any

import gymnasium
import minatar
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from benchmarks.systems.stable_baselines3_dqn import StableBaselines3


class Breakout(gymnasium.Env):
    """The game, with the channel as the first axis, as Torch has it."""

    def __init__(self) -> None:
        self._game = minatar.Environment("breakout")
        height, width, channels = self._game.state_shape()
        self.observation_space = gymnasium.spaces.Box(0, 1, (channels, height, width), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(self._game.num_actions())

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
        """Starts an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.reset()
        return self._image(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Plays one frame."""
        reward, ended = self._game.act(int(action))
        return self._image(), float(reward), bool(ended), False, {}

    def _image(self) -> np.ndarray:
        return self._game.state().transpose(2, 0, 1).astype(np.uint8)


class Convolution(BaseFeaturesExtractor):
    """A convolution with 16 filters of 3×3 and a dense layer.

    Args:
        space: The observation space.
        units: The number of units of the dense layer.
    """

    def __init__(self, space: gymnasium.spaces.Box, units: int) -> None:
        super().__init__(space, units)
        channels, height, width = space.shape
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 16, 3),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(16 * (height - 2) * (width - 2), units),
            torch.nn.ReLU(),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Computes the features, `[B, units]`."""
        return self.layers(images.float())


class StableBaselines3MinAtar(StableBaselines3):
    """Stable-Baselines3 with one update after every step of its vector environment, on the CPU."""

    num_threads = 2
    policy, environment = "CnnPolicy", Breakout

    def network(self) -> dict[str, Any]:
        """Returns the arguments of the policy that determine its network."""
        return {
            "features_extractor_class": Convolution,
            "features_extractor_kwargs": {"units": self.work.hidden},
            "net_arch": [],
            "normalize_images": False,
        }
