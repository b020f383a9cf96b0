"""Named tuples that may have further fields."""

import collections
import functools
from collections.abc import Sequence
from typing import Any


@functools.cache
def class_with(base: type, fields: tuple[str, ...]) -> Any:
    """Returns the class of the named tuples that have further fields.

    Args:
        base: The class of the named tuples without them.
        fields: The names of the further fields.

    Returns:
        The class, the same for the same arguments; `base` itself if there are no further fields.
    """
    if not fields:
        return base
    words = "".join(word.capitalize() for field in fields for word in field.split("_"))
    return collections.namedtuple(f"{words}{base.__name__}", [*base._fields, *fields])  # type: ignore[attr-defined, misc]


def extended(base: type, allowed: Sequence[str], instance: Any, **fields: Any) -> Any:
    """Returns a named tuple with further fields.

    Args:
        base: The class without further fields.
        allowed: The names of the fields that there can be, in the order in which the result has them.
        instance: A named tuple of `base`, or one with further fields.
        **fields: The further fields, which replace those of the instance.

    Raises:
        ValueError: A field is not allowed.
    """
    unknown = sorted(set(fields) - set(allowed))
    if unknown:
        raise ValueError(f"The fields of a {base.__name__} must be among {tuple(allowed)}. Received: {unknown[0]!r}.")
    values = {**dict(zip(instance._fields, instance, strict=True)), **fields}
    return class_with(base, tuple(name for name in allowed if name in values))(**values)


def field_of(instance: Any, name: str) -> Any:
    """Returns a field of a named tuple; None if it does not have the field.

    Args:
        instance: The named tuple.
        name: The name of the field.
    """
    return getattr(instance, name, None)


def is_extended(base: type, allowed: Sequence[str], value: Any) -> bool:
    """Whether a value is a named tuple of a class, or one that `extended` made of it.

    Args:
        base: The class without further fields.
        allowed: The names of the fields that there can be.
        value: Any value.
    """
    fields = getattr(value, "_fields", ())
    return isinstance(value, tuple) and type(value) is class_with(base, tuple(f for f in allowed if f in fields))
