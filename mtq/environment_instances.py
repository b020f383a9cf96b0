"""A check that every copy of an environment is an object of its own."""

import contextlib
import functools
import weakref
from typing import Any

from mtq.wrappers import layers

_made: dict[int, weakref.ref] = {}  # every environment that is still alive, by its id


def check_is_new(name: str, environment: Any) -> None:
    """Raises a ValueError if this environment, or one inside it, was passed to this function before.

    If copies were the same object, each would step the others, and evaluation would reset and close the environment
    used for training.

    Args:
        name: The task's name, for the message.
        environment: The environment that a callable or `gymnasium.make` has just made.
    """
    inside = list(layers(environment))
    for layer in inside:
        known = _made.get(id(layer))
        if known is not None and known() is layer:
            raise ValueError(
                f"The environment of task '{name}' must be a new object each time that its callable or id makes it. "
                f"Received: {layer!r} again, which was made before. Copies for training, evaluation and num_envs must "
                "not share it: make it within the callable, as in `lambda: YourEnvironment()`, or within the entry "
                "point of the id."
            )
    for layer in inside:
        with contextlib.suppress(TypeError):  # an object with __slots__ and no weak references
            key = id(layer)
            _made[key] = weakref.ref(layer, functools.partial(_forget, key))


def _forget(key: int, dead: weakref.ref) -> None:
    if _made.get(key) is dead:
        del _made[key]
