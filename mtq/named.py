"""Pluggable objects by name: what `get`, `serialize` and `deserialize` of aggregators and weightings have in common."""

import difflib
from collections.abc import Mapping
from typing import Any

from mtq.serialized import deserialize


def find(role: str, name: str, classes: Mapping[str, type]) -> type:
    """Finds a class by its name.

    Args:
        role: What it is, for the message.
        name: The name given.
        classes: All there are.

    Raises:
        ValueError: There is none of this name; the message suggests the nearest.
    """
    if name not in classes:
        nearest = difflib.get_close_matches(name, classes, n=1, cutoff=0.4)
        hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"There is no {role} of this name. Received: {name!r}. {hint}There are: {sorted(classes)}.")
    return classes[name]


def instance(role: str, value: Any, base: type) -> Any:
    """Returns a serialized or ready-made object of a class.

    Args:
        role: What it is, for the message.
        value: An object of the class, or a Keras config of one.
        base: The class.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, Mapping) and "class_name" in value:
        value = deserialize(role, value, base)
    if not isinstance(value, base):
        raise ValueError(f"The {role} must be a name or an object of {base.__name__}. Received: {value!r}.")
    return value
