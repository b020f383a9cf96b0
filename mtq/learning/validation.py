"""The arguments of `evaluate` and of `fit`'s validation, and the logs of epochs without one."""

import math
import types
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import integer
from mtq.experience.batches import Batches, pulled
from mtq.trainer.stages import ADDS_LOGS


def batches_to_evaluate(
    model: keras.Model, data: Any, steps: Any, argument: str = "x", method: str = "evaluate"
) -> Any:
    """Checks the batches of an evaluation and their number.

    Args:
        model: The model that is evaluated.
        data: A dataset or generator of `{task: Transition}`, a single batch, or the batches of an experience.
        steps: The number of batches, or None for all.
        argument: The name of the argument of the batches, for messages.
        method: The name of the method, for messages.

    Returns:
        The batches as Keras takes them. Those of an experience are a dataset of stored steps.

    Raises:
        ValueError: The data are not batches, their number is not a positive multiple of `steps_per_execution`, or it
            is missing for endless batches.
    """
    per_execution = model.steps_per_execution
    role = f"{'validation_' if method == 'fit' else ''}steps"
    check_are_batches(data, f"{argument} of {method}")
    if steps is not None and integer(f"{role} of {method}", steps) % per_execution:
        raise ValueError(
            f"{role} of {method} must be a multiple of compile's steps_per_execution = {per_execution}. Received: "
            f"{steps}. Change one of them."
        )
    if steps is None and is_endless(data):
        raise ValueError(
            f"{role} of {method} must be the number of batches, because these batches have no end. Received: None. "
            f"Pass {role}=100 to {method}, for example."
        )
    if steps is None and method == "fit" and isinstance(data, types.GeneratorType):
        raise ValueError(
            f"{role} of fit must be the number of batches of each epoch, because a generator cannot be read again. "
            f"Received: None. Pass {role}=100 to fit, or a tf.data.Dataset."
        )
    return data.stored() if isinstance(data, Batches) else as_tuples(model, data, "evaluate")


def check_are_batches(data: Any, role: str) -> None:
    """Raises a ValueError if an argument is evidently not batches.

    Args:
        data: The value received.
        role: The name of the argument, for the message.
    """
    is_pair = isinstance(data, tuple | list)  # Keras's (x, y)
    if data is None or is_pair or hasattr(type(data), "env_steps"):  # an Experience itself
        received = "None" if data is None else f"an object of {type(data).__name__}"
        raise ValueError(
            f"{role} must be batches. Received: {received}. Pass Experience.batches(batch_size), or a tf.data.Dataset "
            "or generator of {task: mtq.Transition}."
        )


def is_endless(data: Any) -> bool:
    """Whether batches are known to have no end.

    Args:
        data: The batches of an experience, or a dataset.
    """
    if isinstance(data, tf.data.Dataset):
        return bool(data.cardinality() == tf.data.INFINITE_CARDINALITY)
    return isinstance(data, Batches)


def as_tuples(model: keras.Model, data: Any, method: str) -> Any:
    """Turns a generator of batches into one of tuples, which Keras requires; returns anything else as it is.

    Args:
        model: The model that reads the batches.
        data: The batches.
        method: The method that reads them, `"fit"` or `"evaluate"`.
    """
    if not isinstance(data, types.GeneratorType):
        return data
    return (batch if type(batch) is tuple else (batch,) for batch in pulled(model, data, method))


def check_validation(model: keras.Model, settings: dict[str, Any]) -> None:
    """Checks the validation arguments of `fit`, and turns them into values that Keras takes.

    Args:
        model: The model that is trained.
        settings: The arguments of `fit` by name, which are changed.

    Raises:
        ValueError: An argument is out of its range.
    """
    frequency = settings.get("validation_freq", 1)
    if isinstance(frequency, Iterable) and not isinstance(frequency, str):
        settings["validation_freq"] = [integer("Each epoch of validation_freq of fit", epoch) for epoch in frequency]
    else:
        settings["validation_freq"] = integer("validation_freq of fit", frequency)
    if settings.get("validation_steps") is not None:
        settings["validation_steps"] = integer("validation_steps of fit", settings["validation_steps"])
    data, steps = settings["validation_data"], settings.get("validation_steps")
    settings["validation_data"] = batches_to_evaluate(model, data, steps, "validation_data", "fit")


class FillValidationLogs(keras.callbacks.Callback):
    """Logs NaN for the quantities of `validation_data` in the epochs that `validation_freq` leaves out.

    Callbacks with a monitor pass over these epochs, and the columns of a `CSVLogger` are the same in all epochs. `fit`
    adds this callback if `validation_freq` is not 1.

    Args:
        names: The names of the quantities. Those that the first validation adds to them are filled in from then on.
    """

    mtq_stage = ADDS_LOGS

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = dict.fromkeys(names)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the quantities that are missing."""
        logs = {} if logs is None else logs
        self._names.update(dict.fromkeys(name for name in logs if name.startswith("val_")))
        for name in self._names:
            logs.setdefault(name, math.nan)
