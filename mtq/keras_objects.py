"""A check that settings are objects of Keras 3, not of `tf.keras`, which is Keras 2 where tf-agents is installed."""

import inspect
from typing import Any

_OTHERS = ("tf_keras", "tensorflow.python.keras", "tensorflow.keras")


# The steps or updates at which a schedule is checked before training.
CHECKED_STEPS = (0, *(10**power for power in range(8)))


def check_keras(role: str, value: Any) -> None:
    """Raises a ValueError for an object, class or function of `tf.keras`.

    Args:
        role: The name of the argument, for the message.
        value: The value received. Values that are not of `tf.keras` pass.
    """
    is_named = inspect.isclass(value) or inspect.isroutine(value)
    classes = value.__mro__ if inspect.isclass(value) else (value,) if is_named else type(value).__mro__
    for one in classes:
        module = getattr(one, "__module__", None) or ""
        if any(module == other or module.startswith(other + ".") for other in _OTHERS):
            raise ValueError(
                f"{role} must be of keras, not of tf.keras, which is Keras 2 here. Received: {module}."
                f"{getattr(one, '__name__', type(one).__name__)}. Take it from `import keras`."
            )
