"""Stable-Baselines3's `DQN` on CartPole."""

from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.systems.work import Work


class StableBaselines3:
    """Stable-Baselines3 with one update after every step of its vector environment, on the CPU."""

    round_to = 1
    num_threads = 1  # two were no faster with networks of this size
    policy, environment = "MlpPolicy", "CartPole-v1"

    def __init__(self, work: Work) -> None:
        torch.set_num_threads(self.num_threads)
        self.work = work
        self.model = DQN(
            self.policy,
            self.make_environment(),
            learning_rate=work.learning_rate,
            buffer_size=work.replay_capacity,
            learning_starts=work.warmup_steps,
            batch_size=work.batch_size,
            train_freq=1,
            gradient_steps=1,
            target_update_interval=work.target_update_period * work.num_envs,
            exploration_initial_eps=work.epsilon,
            exploration_final_eps=work.epsilon,
            policy_kwargs=self.network(),
            device="cpu",
        )
        self.model.learn(work.warmup_steps)

    def make_environment(self) -> VecEnv:
        """Returns the copies of the environment."""
        return make_vec_env(self.environment, n_envs=self.work.num_envs)

    def network(self) -> dict[str, Any]:
        """Returns the arguments of the policy that determine its network."""
        return {"net_arch": [self.work.hidden, self.work.hidden]}

    def run(self, updates: int) -> None:
        """Trains, and checks the number of updates."""
        before = self.model._n_updates
        self.model.learn(updates * self.work.num_envs, reset_num_timesteps=False)
        made = self.model._n_updates - before
        if made != updates:
            raise RuntimeError(f"Stable-Baselines3 must make {updates} updates. It made: {made}.")

    def env_steps(self) -> int:
        """Returns the number of environment steps that the model has counted."""
        return self.model.num_timesteps
