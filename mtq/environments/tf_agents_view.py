"""tf-agents environments seen as Gymnasium ones."""

import contextlib
from typing import Any

import gymnasium
import numpy as np

from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.spec import read_spec

DISCOUNT = "mtq/tf_agents_discount"  # in an info: the discount that a tf-agents environment gave
_LAST = 2  # tf_agents.trajectories.StepType.LAST


def as_gymnasium(environment: Any) -> gymnasium.Env:
    """Returns a Gymnasium environment as it is, and a tf-agents one in a view that behaves like one."""
    return _TfAgentsView(environment) if is_tf_agents(environment) else environment


class _TfAgentsView(gymnasium.Env):
    """One tf-agents environment, `PyEnvironment` or `TFEnvironment`, of batch size one or none."""

    def __init__(self, environment: Any) -> None:
        batch_size = getattr(environment, "batch_size", None) or 1
        if batch_size != 1:
            raise ValueError(
                f"A tf-agents environment of batch size {batch_size} cannot be stepped copy by copy. Received: "
                f"{environment!r}. Give one of batch size 1, and num_envs copies of it by a callable."
            )
        self._environment = environment
        speaks_tensors = hasattr(environment.action_spec().dtype, "as_numpy_dtype")  # a TFEnvironment, always batched
        self._is_batched = speaks_tensors or environment.batched
        spec = read_spec("", environment)
        self.action_space = gymnasium.spaces.Discrete(spec.num_actions, start=spec.first_action)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None and hasattr(self._environment, "seed"):
            with contextlib.suppress(NotImplementedError):  # as tf-agents' base class says of environments without
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
