"""Inspects wrappers of environments: replaces their time limits, and rejects running normalization."""

import re
from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeAwareObservation, TimeLimit

_RUNNING = re.compile("Running_?(Mean|Std|Stat|Var|Norm)", re.IGNORECASE)


def layers(environment: Any) -> Iterator[Any]:
    """Iterates over an environment and all environments inside it, found in any of its attributes.

    Args:
        environment: A Gymnasium or tf-agents environment.

    Yields:
        The environment itself, then those inside it, outermost first.
    """
    queue, seen = [environment], set()
    while queue:
        layer = queue.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        for value in list(getattr(layer, "__dict__", {}).values()):
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            queue += [inner for inner in held if _is_environment(inner)]


def _is_environment(value: Any) -> bool:
    if isinstance(value, gymnasium.Env | gymnasium.vector.VectorEnv):
        return True
    methods = ("reset", "step", "time_step_spec", "action_spec")  # of tf-agents' environments, but not its policies
    return not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods)


def with_limit(name: str, environment: gymnasium.Env, max_episode_steps: int) -> gymnasium.Env:
    """Replaces all `TimeLimit` wrappers of an environment with a single one.

    The new limit counts the steps of the outermost environment, even if an inner wrapper repeats actions.

    Args:
        name: The task's name, for messages.
        environment: The environment. Its own limits are disabled in place.
        max_episode_steps: The number of steps after which an episode is truncated.

    Returns:
        The environment, wrapped in a new `TimeLimit`.

    Raises:
        ValueError: A subclass of `TimeLimit` overrides `step`, or a wrapper shows the old limit in its observations.
    """
    # The innermost limit comes first, because the step of each limit is set to the step of the environment inside it.
    for layer in reversed([*layers(environment)]):
        if isinstance(layer, TimeAwareObservation) and layer.max_timesteps != max_episode_steps:
            raise ValueError(
                f"max_episode_steps of task '{name}' must be that of its TimeAwareObservation, whose observations show "
                f"the time as a fraction of {layer.max_timesteps} steps. Received: {max_episode_steps}. Put the "
                f"TimeLimit of {max_episode_steps} steps inside the TimeAwareObservation."
            )
        if not isinstance(layer, TimeLimit):
            continue
        if type(layer).step is not TimeLimit.step:
            raise ValueError(
                f"max_episode_steps of task '{name}' can only replace Gymnasium's own TimeLimit. Received: "
                f"{type(layer).__name__}, which overrides step. Set the limit there and leave max_episode_steps out."
            )
        setattr(layer, "step", layer.env.step)  # noqa: B010  (disables the limit for every reference to the layer)
    return TimeLimit(environment, max_episode_steps)


def is_replaced(limit: TimeLimit) -> bool:
    """Returns whether `with_limit` has replaced a limit with another one.

    Args:
        limit: The `TimeLimit` wrapper to inspect.
    """
    return "step" in vars(limit)


def check_no_running_normalization(name: str, environment: gymnasium.Env) -> None:
    """Raises a ValueError if a wrapper normalizes observations or rewards with running statistics.

    Wrappers other than Gymnasium's are recognized by an attribute whose class has the name of running statistics, such
    as `RunningMeanStd`.

    Args:
        name: The task's name, for messages.
        environment: The environment.
    """
    from gymnasium.wrappers import vector

    observation, reward = (NormalizeObservation, vector.NormalizeObservation), (NormalizeReward, vector.NormalizeReward)
    for layer in layers(environment):
        statistics = [key for key, value in getattr(layer, "__dict__", {}).items() if _is_running(value)]
        is_known = isinstance(layer, observation + reward)
        if not (is_known or statistics) or not getattr(layer, "update_running_mean", True):
            continue
        normalizes_reward = isinstance(layer, reward) or (not is_known and not any("obs" in key for key in statistics))
        instead = (
            "Scale rewards by a constant, reward_scale of mtq.Task, or bound them by reward_clip"
            if normalizes_reward
            else "Normalize in the network, which evaluation and the export share: a keras.layers.Normalization, "
            "adapted to observations, as the task's encoder or as the backbone's first layer"
        )
        raise ValueError(
            f"The environment of task '{name}' must not use running normalization. Received: {type(layer).__name__}, "
            "of which every copy has its own statistics: evaluation starts without them, and the export has none. "
            f"{instead}; or give every copy the same fixed statistics, with the wrapper's update_running_mean at False."
        )


def _is_running(value: Any) -> bool:
    return _RUNNING.search(type(value).__name__) is not None
