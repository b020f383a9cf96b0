"""Wrappers of environments: time limits that a task's own replaces, and wrappers that are refused."""

import re
from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeAwareObservation, TimeLimit

_RUNNING = re.compile("Running_?(Mean|Std|Stat|Var|Norm)", re.IGNORECASE)


def layers(environment: Any) -> Iterator[Any]:
    """Iterates over an environment and all environments inside it, whichever attributes hold them.

    Args:
        environment: An environment of Gymnasium or of tf-agents.

    Yields:
        The environment itself, then those inside it, from the outside inwards.
    """
    waiting, seen = [environment], set()
    while waiting:
        layer = waiting.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        for value in list(getattr(layer, "__dict__", {}).values()):
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            waiting += [inner for inner in held if _is_environment(inner)]


def _is_environment(value: Any) -> bool:
    if isinstance(value, gymnasium.Env | gymnasium.vector.VectorEnv):
        return True
    methods = ("reset", "step", "time_step_spec", "action_spec")  # of tf-agents' environments, but not of its policies
    return not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods)


def with_limit(name: str, environment: gymnasium.Env, max_episode_steps: int) -> gymnasium.Env:
    """Replaces all `TimeLimit`s of an environment by a single one.

    The new limit counts the steps of the wrapped environment, even if an inner wrapper repeats actions.

    Args:
        name: The task's name, for messages.
        environment: The environment, whose own limits are disabled in place.
        max_episode_steps: The number of steps after which an episode is truncated.

    Returns:
        The environment in a new `TimeLimit`.

    Raises:
        ValueError: A subclass of `TimeLimit` does more than limit the time, or a wrapper shows the old limit in its
            observations.
    """
    # From the inside, because a limit's step becomes the step of what it wraps.
    for layer in reversed([*layers(environment)]):
        if isinstance(layer, TimeAwareObservation) and layer.max_timesteps != max_episode_steps:
            raise ValueError(
                f"max_episode_steps of task '{name}' must be that of its TimeAwareObservation, whose observations are "
                f"a part of {layer.max_timesteps} steps. Received: {max_episode_steps}. Put the TimeLimit of "
                f"{max_episode_steps} steps inside of the TimeAwareObservation."
            )
        if not isinstance(layer, TimeLimit):
            continue
        if type(layer).step is not TimeLimit.step:
            raise ValueError(
                f"max_episode_steps of task '{name}' can replace Gymnasium's own TimeLimit only. Received: "
                f"{type(layer).__name__}, whose step does more. Set the limit there and leave max_episode_steps out."
            )
        setattr(layer, "step", layer.env.step)  # noqa: B010  (disables the limit wherever the layer is referenced)
    return TimeLimit(environment, max_episode_steps)


def is_replaced(limit: TimeLimit) -> bool:
    """Whether `with_limit` has put another limit in place of this one.

    Args:
        limit: A wrapper of an environment.
    """
    return "step" in vars(limit)


def check_no_running_normalization(name: str, environment: gymnasium.Env) -> None:
    """Raises a ValueError if a wrapper normalizes observations or rewards with running statistics.

    Wrappers other than Gymnasium's are recognized by an attribute whose class is named as running statistics are, such
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
        of_rewards = isinstance(layer, reward) or (not is_known and not any("obs" in key for key in statistics))
        instead = (
            "Scale rewards by a constant, reward_scale of mtq.Task, or bound them by reward_clip"
            if of_rewards
            else "Normalize in the network, which evaluation and the export share: a keras.layers.Normalization, "
            "adapted to observations, as the task's encoder or as the backbone's first layer"
        )
        raise ValueError(
            f"The environment of task '{name}' must be without running normalization. Received: "
            f"{type(layer).__name__}, of whose statistics every copy has its own: evaluation begins with none, and the "
            f"export has none. {instead}; or fix the statistics, the same in every copy, and set the wrapper's "
            "update_running_mean to False."
        )


def _is_running(value: Any) -> bool:
    return _RUNNING.search(type(value).__name__) is not None
