"""Adapts tf-agents environments to Gymnasium's interface."""

import contextlib
from typing import Any

import gymnasium
import numpy as np

from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.spec import read_spec

DISCOUNT = "mtq/tf_agents_discount"  # the key under which an info holds the discount of a tf-agents environment
_LAST = 2  # tf_agents.trajectories.StepType.LAST


def as_gymnasium(environment: Any) -> gymnasium.Env:
    """Returns a Gymnasium environment unchanged, and a tf-agents environment in a view with Gymnasium's interface."""
    return _TfAgentsView(environment) if is_tf_agents(environment) else environment


class _TfAgentsView(gymnasium.Env):
    """A tf-agents `PyEnvironment` or `TFEnvironment`, unbatched or of batch size 1, with Gymnasium's interface."""

    def __init__(self, environment: Any) -> None:
        batch_size = getattr(environment, "batch_size", None) or 1
        if batch_size != 1:
            raise ValueError(
                f"A tf-agents environment must have batch size 1. Received: {environment!r}, of batch size "
                f"{batch_size}. Give an environment of batch size 1, or a callable that returns one to set num_envs."
            )
        self._environment = environment
        has_tensors = hasattr(environment.action_spec().dtype, "as_numpy_dtype")  # a TFEnvironment, always batched
        self._is_batched = has_tensors or environment.batched
        spec = read_spec("", environment)
        self.action_space = gymnasium.spaces.Discrete(spec.num_actions, start=spec.first_action)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None and hasattr(self._environment, "seed"):
            with contextlib.suppress(NotImplementedError):  # from tf-agents' base class, if there is no seed
                self._environment.seed(seed)
        time_step = self._environment.reset()
        return self._unbatched(time_step.observation), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time_step = self._environment.step(self._batched(action))
        is_last = int(self._unbatched(time_step.step_type)) == _LAST
        discount = float(self._unbatched(time_step.discount))
        terminated = is_last and discount == 0.0
        reward = float(self._unbatched(time_step.reward))
        return (
            self._unbatched(time_step.observation),
            reward,
            terminated,
            is_last and not terminated,
            {DISCOUNT: discount},
        )

    def close(self) -> None:
        """Closes the environment, if it can be closed."""
        close = getattr(self._environment, "close", None)
        if close is not None:
            close()

    def _batched(self, action: int) -> np.ndarray:
        dtype = self._environment.action_spec().dtype
        array = np.asarray(action, getattr(dtype, "as_numpy_dtype", dtype))
        return array[None] if self._is_batched else array

    def _unbatched(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        return array[0] if self._is_batched else array
