"""Objects and errors of Keras 3, as against `tf.keras`, which is Keras 2 where tf-agents is installed."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

_OTHERS = ("tf_keras", "tensorflow.python.keras", "tensorflow.keras")


# The steps or updates at which a schedule is checked before training.
CHECKED_STEPS = (0, *(10**power for power in range(8)))


def check_keras(role: str, value: Any) -> None:
    """Raises a ValueError for an object, class or function of `tf.keras`, and for an object of Keras that holds one.

    Args:
        role: The name of the argument, for the message.
        value: The value received. Values that are not of `tf.keras` pass.
    """
    for held in _with_attributes(value):
        is_named = inspect.isclass(held) or inspect.isroutine(held)
        classes = held.__mro__ if inspect.isclass(held) else (held,) if is_named else type(held).__mro__
        for one in classes:
            module = getattr(one, "__module__", None) or ""
            if any(module == other or module.startswith(other + ".") for other in _OTHERS):
                raise ValueError(
                    f"{role} must be of keras, not of tf.keras, which is Keras 2 here. Received: {module}."
                    f"{getattr(one, '__name__', type(one).__name__)}. Take it from `import keras`."
                )


def message_of(error: Exception) -> str:
    """The message of an error of Keras, without the terminal's colours.

    Args:
        error: The error.
    """
    return str(error).replace("\x1b[1m", "").replace("\x1b[0m", "")


def _with_attributes(value: Any) -> Iterator[Any]:
    """The value, and what its layers and itself hold as attributes, such as initializers, if it is of Keras."""
    yield value
    if not isinstance(value, keras.Layer | keras.optimizers.Optimizer | keras.losses.Loss):
        return
    layers = value._flatten_layers() if isinstance(value, keras.Layer) else [value]
    for layer in layers:
        yield from vars(layer).values()
