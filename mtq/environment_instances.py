"""A check that every copy of an environment is an object of its own."""

import weakref
from typing import Any

_made: dict[int, weakref.ref] = {}  # every base environment that is still alive, by its id


def check_is_new(name: str, environment: Any) -> None:
    """Raises a ValueError if this environment, or the one that it wraps, was passed to this function before.

    If copies were the same object, each would step the others, and evaluation would reset and close the environment
    used for training.

    Args:
        name: The task's name, for the message.
        environment: The environment that a callable or `gymnasium.make` has just made.
    """
    base = _base(environment)
    known = _made.get(id(base))
    if known is not None and known() is base:
        raise ValueError(
            f"The environment of task '{name}' must be a new object each time that its callable or id makes it. "
            f"Received: {base!r} again, which was made before. Copies for training, evaluation and num_envs must not "
            "share it: make it within the callable, as in `lambda: YourEnvironment()`, or within the entry point of "
            "the id."
        )
    try:
        key = id(base)
        _made[key] = weakref.ref(base, lambda dead: _forget(key, dead))
    except TypeError:  # an object with __slots__ and no weak references
        return


def _forget(key: int, dead: weakref.ref) -> None:
    if _made.get(key) is dead:
        del _made[key]


def _base(environment: Any) -> Any:
    """The innermost environment of Gymnasium's and tf-agents' wrappers."""
    for _ in range(100):
        inner = getattr(environment, "unwrapped", None)
        if inner is None:
            wrapped = getattr(environment, "wrapped_env", None)
            inner = wrapped() if callable(wrapped) else None
        if inner is None:
            inner = getattr(environment, "pyenv", None)
        if inner is None:
            envs = getattr(environment, "envs", None)
            inner = envs[0] if isinstance(envs, list | tuple) and len(envs) == 1 else None
        if inner is None or inner is environment:
            return environment
        environment = inner
    return environment
