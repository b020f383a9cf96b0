"""Stable-Baselines3's `DQN` on Pong, with its own preprocessing and the network of Mnih et al. (2015)."""

from typing import Any

import ale_py
import gymnasium
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from benchmarks.systems.stable_baselines3_dqn import StableBaselines3

gymnasium.register_envs(ale_py)


class StableBaselines3Atari(StableBaselines3):
    """Stable-Baselines3 with one update after every step of its vector environment, on the CPU."""

    num_threads = 2
    policy = "CnnPolicy"

    def make_environment(self) -> VecEnv:
        """Returns the copies of Pong.

        As in mtq, actions are sticky, all 18 actions are available, and the loss of a life does not end an episode.
        No-op starts and firing at a reset are Stable-Baselines3's defaults.
        """
        copies = make_atari_env(
            "PongNoFrameskip-v4",
            n_envs=self.work.num_envs,
            wrapper_kwargs={"terminal_on_life_loss": False, "action_repeat_probability": 0.25},
            env_kwargs={"full_action_space": True},
        )
        return VecFrameStack(copies, n_stack=4)

    def network(self) -> dict[str, Any]:
        """Returns the arguments of the policy that determine its network."""
        return {"features_extractor_kwargs": {"features_dim": self.work.hidden}, "net_arch": []}
