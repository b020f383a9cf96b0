"""The return at which an environment counts as solved, if it is known for the settings in use."""

import inspect
from typing import Any

import gymnasium

from mtq.dynamics import Dynamics
from mtq.wrappers import is_replaced

_NOT_OF_THE_TASK = {"render_mode"}


def known_reference(environment: Any) -> float | None:
    """Reads the `reward_threshold` of an environment, if it applies to the environment as it is used.

    A threshold holds for the time limit, the rewards and the settings with which the environment was registered or, for
    an in-graph environment, for the default time limit. Other settings lead to other returns.

    Args:
        environment: A Gymnasium environment with its wrappers, a `Dynamics`, or a tf-agents environment.

    Returns:
        The threshold; None if there is none, or if it holds for other settings.
    """
    if isinstance(environment, Dynamics):
        holds = environment.max_episode_steps == _limit_by_default(environment)
        threshold = environment.reward_threshold if holds else None
    else:
        threshold = _registered_threshold(environment)
    return None if threshold is None else float(threshold)


def _limit_by_default(dynamics: Dynamics) -> int | None:
    argument = inspect.signature(type(dynamics).__init__).parameters.get("max_episode_steps")
    return None if argument is None or argument.default is inspect.Parameter.empty else argument.default


def _registered_threshold(environment: Any) -> float | None:
    spec: Any = getattr(environment, "spec", None)
    if getattr(spec, "reward_threshold", None) is None:
        return None
    registered = gymnasium.registry.get(spec.id, spec)
    limits, layer = [], environment
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit) and not is_replaced(layer):
            limits.append(layer._max_episode_steps)
        if isinstance(layer, gymnasium.RewardWrapper | gymnasium.wrappers.NormalizeReward):
            return None
        layer = layer.env
    is_same_limit = (min(limits) if limits else None) == registered.max_episode_steps
    return spec.reward_threshold if is_same_limit and _settings(spec) == _settings(registered) else None


def _settings(spec: Any) -> dict[str, Any]:
    return {name: value for name, value in spec.kwargs.items() if name not in _NOT_OF_THE_TASK}
