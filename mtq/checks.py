"""Checks of arguments that are numbers, flags or Keras 3 objects.

Numbers and flags are converted to Python's own types so that they can be saved.

Python numbers, NumPy scalars and zero-dimensional arrays count as numbers, and a float without a fraction such as 1e4
counts as an integer. Bools and strings do not.
"""

import inspect
import math
import numbers
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mtq.keras_internals import TF_KERAS_MODULES, flatten_layers

_LARGEST = 2**64 - 1  # the largest seed; seeds are unsigned
LARGEST_COUNT = 2**63 - 1  # the largest number of updates that can be counted
# The steps or updates at which a schedule is checked before training.
CHECKED_STEPS = (0, *(10**power for power in range(8)))


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer, and not a bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Returns whether a value is a real number, finite or not, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number of Python or NumPy, or a zero-dimensional array that holds one."""
    return is_real(_plain(value))


def integer(role: str, value: Any, least: int = 1, remedy: str = "", most: int = _LARGEST) -> int:
    """Checks an integer setting and converts it to an `int`.

    Args:
        role: The name of the argument, for the message.
        value: The value received. A float without a fraction, such as 1e4, counts as an integer.
        least: The smallest value allowed.
        remedy: The sentence that ends the message, if any.
        most: The largest value allowed.

    Returns:
        The value as an `int`.

    Raises:
        ValueError: The value is not an integer, or is too small or too large.
    """
    plain = _plain(value)
    if is_real(plain) and not is_whole(plain) and math.isfinite(plain) and plain == math.floor(plain):
        plain = int(plain)
    if not is_whole(plain) or plain < least:
        raise ValueError(f"{role} must be an integer of at least {least}. Received: {value!r}.{remedy and ' '}{remedy}")
    if plain > most:
        received = plain if plain <= _LARGEST else f"a number of {plain.bit_length()} bits"
        raise ValueError(f"{role} must be at most {most}. Received: {received}.")
    return int(plain)


def real(
    role: str, value: Any, *, least: float | None = None, most: float | None = None, above: float | None = None
) -> float:
    """Checks a finite real setting and converts it to a `float`.

    Args:
        role: The name of the argument, for the message.
        value: The value received.
        least: The smallest value allowed.
        most: The largest value allowed.
        above: The exclusive lower bound.

    Returns:
        The value as a `float`.

    Raises:
        ValueError: The value is not a finite number within the bounds.
    """
    plain = _plain(value)
    holds = is_real(plain) and math.isfinite(plain)
    holds = holds and (least is None or plain >= least) and (most is None or plain <= most)
    if not holds or (above is not None and not plain > above):
        bounds = [
            *(["finite"] if is_real(plain) and not math.isfinite(plain) else []),
            *([f"above {above}"] if above is not None else []),
            *([f"from {least} to {most}"] if least is not None and most is not None else []),
            *([f"{least} or more"] if least is not None and most is None else []),
            *([f"at most {most}"] if least is None and most is not None else []),
        ]
        wanted = " and ".join(bounds) if bounds else "a finite number"
        raise ValueError(f"{role} must be {wanted}. Received: {value!r}.")
    return float(plain)


def flag(role: str, value: Any) -> bool:
    """Checks a boolean setting and converts it to a `bool`.

    Args:
        role: The name of the argument, for the message.
        value: The value received.

    Returns:
        The value as a `bool`.

    Raises:
        ValueError: The value is not a bool, such as the string "false", which is true in Python.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{role} must be True or False. Received: {value!r}.")
    return bool(value)


def check_keras(role: str, value: Any) -> None:
    """Raises a ValueError for an object, class or function of Keras 2, and for a Keras 3 object that holds one.

    Args:
        role: The name of the argument, for the message.
        value: The value received. All values other than those of Keras 2 pass.
    """
    for held in _with_attributes(value):
        is_named = inspect.isclass(held) or inspect.isroutine(held)
        classes = held.__mro__ if inspect.isclass(held) else (held,) if is_named else type(held).__mro__
        for candidate in classes:
            module = getattr(candidate, "__module__", None) or ""
            if any(module == other or module.startswith(other + ".") for other in TF_KERAS_MODULES):
                raise ValueError(
                    f"{role} must be an object of Keras 3, not of Keras 2. Received: {module}."
                    f"{getattr(candidate, '__name__', type(candidate).__name__)}. Take it from `import keras`."
                )


def message_of(error: Exception) -> str:
    """Returns the message of a Keras error without the escape codes of bold text.

    Args:
        error: The error.
    """
    return str(error).replace("\x1b[1m", "").replace("\x1b[0m", "")


def _with_attributes(value: Any) -> Iterator[Any]:
    """Yields a value and, if it is a Keras object, the attributes of it and its layers, such as initializers."""
    yield value
    if not isinstance(value, keras.Layer | keras.optimizers.Optimizer | keras.losses.Loss):
        return
    layers = flatten_layers(value) if isinstance(value, keras.Layer) else [value]
    for layer in layers:
        yield from vars(layer).values()


def _plain(value: Any) -> Any:
    """Converts NumPy scalars and zero-dimensional arrays to Python numbers."""
    return (
        value.item() if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim) else value
    )
