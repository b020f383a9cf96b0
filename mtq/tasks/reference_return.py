"""Reads the return at which an environment counts as solved, if it is known for the settings in use."""

import inspect
import math
from typing import Any

import gymnasium
from gymnasium import wrappers

from mtq.checks import is_real
from mtq.dynamics import Dynamics
from mtq.keras_internals import time_limit
from mtq.tasks.wrappers import is_replaced

_NOT_OF_THE_TASK = {"render_mode"}
_KNOWN = ("gymnasium", "mtq")  # the packages whose wrappers, except for those below, leave the task unchanged
_OTHER_REWARDS = (gymnasium.RewardWrapper, wrappers.NormalizeReward)
_OTHER_CONTROL = (
    wrappers.StickyAction,
    wrappers.RepeatAction,
    wrappers.DelayObservation,
    wrappers.MaxAndSkipObservation,
)


class ReadReference(float):
    """A reference return that was read from an environment rather than given by the user.

    Attributes:
        of: The settings of the environment for which the return was read.
    """

    of: tuple[Any, ...]

    def __new__(cls, value: float, of: tuple[Any, ...]) -> "ReadReference":
        """Creates the number, with the settings of the environment that it belongs to."""
        reference = super().__new__(cls, value)
        reference.of = of
        return reference

    def __getnewargs__(self) -> tuple[float, tuple[Any, ...]]:  # type: ignore[override]
        """Returns the arguments of `__new__` with which `copy` and `pickle` create a copy."""
        return float(self), self.of


def known_reference(environment: Any) -> float | None:
    """Reads the `reward_threshold` of an environment, if it applies to the settings in use.

    A threshold is valid for the time limit, the rewards and the settings with which the environment was registered or,
    for an in-graph environment, for the default time limit. Other settings lead to other returns, and so may a wrapper
    or a subclass that overrides `step` or `reset`.

    Args:
        environment: A Gymnasium environment with its wrappers, a `Dynamics`, or a tf-agents environment.

    Returns:
        The threshold; None if the environment has none, or if the threshold is valid for other settings.
    """
    if isinstance(environment, Dynamics):
        holds = environment.max_episode_steps == _limit_by_default(environment) and _is_as_defined(environment)
        threshold: Any = environment.reward_threshold if holds else None
    else:
        threshold = _registered_threshold(environment)
    return float(threshold) if is_real(threshold) and math.isfinite(threshold) else None


def _limit_by_default(dynamics: Dynamics) -> int | None:
    argument = inspect.signature(type(dynamics).__init__).parameters.get("max_episode_steps")
    return None if argument is None or argument.default is inspect.Parameter.empty else argument.default


def _is_as_defined(dynamics: Dynamics) -> bool:
    """Returns whether the dynamics are those for which the threshold was set, not changed by a subclass."""
    kinds = type(dynamics).__mro__
    owner = next(place for place, kind in enumerate(kinds) if "reward_threshold" in vars(kind))
    return not any({"step", "initial_state"} & vars(kind).keys() for kind in kinds[:owner]) or (
        "reward_threshold" in vars(dynamics)
    )


def _is_as_registered(wrapper: gymnasium.Wrapper) -> bool:
    """Returns whether a wrapper is known to leave rewards, actions and the starts of episodes unchanged."""
    kinds = type(wrapper).__mro__
    owners = [next(kind for kind in kinds if method in vars(kind)) for method in ("step", "reset")]
    is_known = all(owner.__module__.partition(".")[0] in _KNOWN for owner in owners)
    return is_known and not isinstance(wrapper, _OTHER_REWARDS + _OTHER_CONTROL)


def _registered_threshold(environment: Any) -> float | None:
    spec: Any = getattr(environment, "spec", None)
    if getattr(spec, "reward_threshold", None) is None:
        return None
    registered = gymnasium.registry.get(spec.id, spec)
    limits, layer = [], environment
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit) and not is_replaced(layer):
            limits.append(time_limit(layer))
        if not _is_as_registered(layer):
            return None
        layer = layer.env
    is_same_limit = (min(limits) if limits else None) == registered.max_episode_steps
    return spec.reward_threshold if is_same_limit and _settings(spec) == _settings(registered) else None


def _settings(spec: Any) -> dict[str, Any]:
    return {name: value for name, value in spec.kwargs.items() if name not in _NOT_OF_THE_TASK}
