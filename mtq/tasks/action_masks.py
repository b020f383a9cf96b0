"""Masks of legal actions: where an environment returns them, and how they are passed on."""

import inspect
import random
import types
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mtq.dynamics import Dynamics
from mtq.tasks.wrappers import layers

ACTION_MASK = "action_mask"
"""The key of the mask in Gymnasium's infos and in PettingZoo's Dict observations."""

_OBSERVATION = "observation"  # the key of PettingZoo's observation beside the mask


def split_observation(observation: Any) -> tuple[Any, Any]:
    """Splits what a policy acts on into the observation and the mask of legal actions.

    It is an `observation_and_action_constraint_splitter` of tf-agents.

    Args:
        observation: The pair of observations `[N, …]` and masks `[N, A]`; or the observations of a task without masks.

    Returns:
        The observations, and the masks; None if there are none.
    """
    return observation if isinstance(observation, tuple) else (observation, None)


class MaskInInfo(gymnasium.Wrapper):
    """Moves the mask of a Dict observation to the infos. The observation is the Dict without it.

    If nothing but `"observation"` remains, the observation is that part.

    Args:
        env: The environment, whose Dict has the key `"action_mask"` and others.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        parts = {key: part for key, part in env.observation_space.spaces.items() if key != ACTION_MASK}  # type: ignore[attr-defined]
        self._is_one = list(parts) == [_OBSERVATION]
        self.observation_space = parts[_OBSERVATION] if self._is_one else spaces.Dict(parts)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Starts an episode."""
        answer = self.env.reset(seed=seed, options=options)
        return self._split(answer) if isinstance(answer, tuple | list) and len(answer) == 2 else answer

    def step(self, action: Any) -> Any:
        """Takes an action."""
        answer = self.env.step(action)
        return self._split(answer) if isinstance(answer, tuple | list) and len(answer) == 5 else answer

    def _split(self, answer: Any) -> Any:
        """Moves the mask of an answer of the right length. The caller reports other errors in it."""
        observation, *others, info = answer
        if not isinstance(observation, Mapping) or not isinstance(info, dict):
            return answer
        rest = {key: part for key, part in observation.items() if key != ACTION_MASK}
        if ACTION_MASK in observation:
            info = {**info, ACTION_MASK: observation[ACTION_MASK]}
        is_one = self._is_one and list(rest) == [_OBSERVATION]
        return (rest[_OBSERVATION] if is_one else rest, *others, info)


def with_mask_in_info(name: str, environment: gymnasium.Env) -> gymnasium.Env:
    """Wraps an environment whose Dict observation holds a mask, so that it is in the infos instead.

    Args:
        name: The task's name, for messages.
        environment: A Gymnasium environment.

    Returns:
        The environment itself if its observation holds no mask, otherwise a `MaskInInfo`.

    Raises:
        ValueError: The mask does not have one entry for each action, or there is nothing else in the Dict.
    """
    space, actions = environment.observation_space, environment.action_space
    has_mask = isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces
    if not has_mask or not isinstance(actions, spaces.Discrete):
        return environment
    if space[ACTION_MASK].shape != (actions.n,):
        raise ValueError(
            f"'{ACTION_MASK}' in the observation of task '{name}' must have one entry for each of its {actions.n} "
            f"actions. Received: {space[ACTION_MASK]}. Fix the observation_space, or pass action_mask=False to "
            "mtq.Task, which keeps that key as a part of the observation."
        )
    if len(space.spaces) == 1:
        raise ValueError(
            f"The observation of task '{name}' must hold more than the mask of legal actions. Received: {space}. Add "
            f"the key '{_OBSERVATION}', or pass action_mask=False to mtq.Task, which makes the mask the observation."
        )
    return MaskInInfo(environment)


def returns_masks(environment: Any, are_demanded: bool) -> bool:
    """Returns whether an environment returns masks of legal actions.

    A Gymnasium environment is reset, unless its observation space shows it. Because a reset may draw from random
    numbers that copies share, an environment whose code does not name the key is not reset unless masks are demanded.
    An exception is ignored here: it is reported when the environment is used. The global states of `random` and
    `numpy.random` stay as they are.

    Args:
        environment: An environment that `make_environment` returned, which nothing else uses.
        are_demanded: Whether the task must have masks.
    """
    if isinstance(environment, Dynamics):
        return environment.has_action_mask
    layer = environment
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, MaskInInfo):
            return True
        layer = layer.env
    if not isinstance(environment, gymnasium.Env) or not (are_demanded or _names_the_key(environment)):
        return False
    states = random.getstate(), np.random.get_state()
    try:
        answer = environment.reset()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
    return isinstance(answer, tuple | list) and len(answer) == 2 and has_mask(answer[1])


def _names_the_key(environment: gymnasium.Env) -> bool:
    """Returns whether the code of a class of an environment, or of one inside it, contains the key of the mask."""
    kinds = {kind for layer in layers(environment) for kind in type(layer).__mro__}
    return any(_has_key(value, kind.__module__, set()) for kind in kinds for value in vars(kind).values())


def _has_key(value: Any, module: str, seen: set[int]) -> bool:
    """Returns whether the key is a name or a constant of a function, or of functions of its module that it uses."""
    function = getattr(value, "__func__", getattr(value, "fget", value))  # a class method or a property
    function = inspect.unwrap(function) if callable(function) else function
    if isinstance(value, str):
        return value == ACTION_MASK
    if not isinstance(function, types.FunctionType) or function.__module__ != module or id(function) in seen:
        return False
    seen.add(id(function))
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                codes.append(constant)
            elif constant == ACTION_MASK or (isinstance(constant, tuple) and ACTION_MASK in constant):
                return True
    used = (function.__globals__.get(name) for name in names)
    return ACTION_MASK in names or any(_has_key(each, module, seen) for each in used)


def has_mask(info: Any) -> bool:
    """Returns whether an info of `reset` or `step` holds a mask.

    Args:
        info: The info.
    """
    return isinstance(info, dict) and info.get(ACTION_MASK) is not None
