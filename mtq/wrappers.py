"""What wraps an environment: time limits that a task's own replaces, and wrappers that a task cannot have."""

from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeAwareObservation, TimeLimit


def layers(environment: Any) -> Iterator[Any]:
    """An environment and all environments within it, whatever the attributes that hold them.

    Args:
        environment: A Gymnasium environment.

    Yields:
        The environment itself first.
    """
    kinds = (gymnasium.Env, gymnasium.vector.VectorEnv)
    waiting, seen = [environment], set()
    while waiting:
        layer = waiting.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        for value in list(getattr(layer, "__dict__", {}).values()):
            held = value if isinstance(value, list | tuple) else [value]
            waiting += [inner for inner in held if isinstance(inner, kinds)]


def with_limit(name: str, environment: gymnasium.Env, max_episode_steps: int) -> gymnasium.Env:
    """Puts one time limit in place of all `TimeLimit`s that an environment has.

    It counts the steps that are taken from outside, also where an inner wrapper repeats actions.

    Args:
        name: The task's name, for messages.
        environment: The environment, whose own limits no longer hold.
        max_episode_steps: The steps after which an episode is truncated.

    Raises:
        ValueError: A wrapper does more than limit the time, or shows the old limit in its observations.
    """
    for layer in reversed([*layers(environment)]):  # from within, for a limit's step becomes that of what it wraps
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
        setattr(layer, "step", layer.env.step)  # noqa: B010  (whoever holds the layer, its limit is gone)
    return TimeLimit(environment, max_episode_steps)


def is_replaced(limit: TimeLimit) -> bool:
    """Whether `with_limit` has put another limit in place of this one.

    Args:
        limit: A wrapper of an environment.
    """
    return "step" in vars(limit)


def check_no_running_normalization(name: str, environment: gymnasium.Env) -> None:
    """Raises a ValueError if a wrapper normalizes with statistics that go on changing.

    Args:
        name: The task's name, for messages.
        environment: The environment.
    """
    from gymnasium.wrappers import vector

    observation, reward = (NormalizeObservation, vector.NormalizeObservation), (NormalizeReward, vector.NormalizeReward)
    for layer in layers(environment):
        if not isinstance(layer, observation + reward) or not layer.update_running_mean:
            continue
        instead = (
            "Normalize in the network, which evaluation and the export share: a keras.layers.Normalization, adapted to "
            "observations, as the task's encoder or as the backbone's first layer"
            if isinstance(layer, observation)
            else "Scale rewards by a constant, reward_scale of mtq.Task, or bound them by reward_clip"
        )
        raise ValueError(
            f"The environment of task '{name}' must be without running normalization. Received: "
            f"{type(layer).__name__}, of whose statistics every copy has its own: evaluation begins with none, and the "
            f"export has none. {instead}; or fix the statistics, the same in every copy, and set the wrapper's "
            "update_running_mean to False."
        )
