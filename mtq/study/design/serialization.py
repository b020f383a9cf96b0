"""Configs of an arm's aggregator, weights and loss, from which every run makes new objects; and their texts."""

import inspect
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.learning.losses import ValueLoss

_NUMBERS = (-1e3, -30.0, -3.0, -1.0, -0.3, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 10.0, 1e2, 1e4)  # within float16


def as_config(pluggable: Any) -> Any:
    """Converts an aggregator, a weighting, or weights of the tasks' losses to JSON values.

    Args:
        pluggable: A name or None, which are returned unchanged; an object; or a dict of objects and numbers by task.

    Returns:
        The names, numbers and configs.
    """
    if pluggable is None or isinstance(pluggable, str):
        return pluggable
    if isinstance(pluggable, dict) and "class_name" not in pluggable:
        return {name: keras.saving.serialize_keras_object(weight) for name, weight in pluggable.items()}
    return keras.saving.serialize_keras_object(pluggable)


def loss_config(loss: Any) -> Any:
    """Converts a loss to JSON values: a loss of Keras to its config without its name.

    A user's own losses are refused, because every run makes the loss again, in threads and processes where its class
    may not be registered.

    Args:
        loss: None, a name or a config, which are returned unchanged, or a loss of Keras.

    Raises:
        ValueError: The loss is unknown, is not one of Keras, or its config does not hold all its arguments.
    """
    if loss is None:
        return None
    if isinstance(loss, str | dict) and not _is_registered(loss):
        ValueLoss(loss)
        return loss
    if not _is_of_keras(loss):
        raise ValueError(
            "loss of a study must be a name or a loss of Keras, because every run makes it again, in its own thread or "
            f"process. Received: {loss!r}."
        )
    config = _config_that_makes_it(loss)
    if config is None:
        raise ValueError(
            "loss of a study must be one whose Keras config holds all arguments, because every run makes it again from "
            f"the config. Received: {loss!r}. Give another loss, or the same with its defaults."
        )
    return config


def as_text(config: Any) -> str:
    """Returns the text of a setting for a report, such as `Huber(delta=10.0)`.

    Args:
        config: A config that `as_config` or `loss_config` returned.
    """
    if not isinstance(config, dict):
        return str(config)
    if "class_name" not in config:
        return f"{{{', '.join(f'{name}: {as_text(weight)}' for name, weight in config.items())}}}"
    arguments = config["config"]
    if isinstance(arguments, str):  # the config of a function is its name
        return arguments
    return f"{config['class_name']}({', '.join(f'{k}={v}' for k, v in arguments.items() if k != 'name')})"


def _is_registered(loss: Any) -> bool:
    """Whether this is the config of a user's own loss."""
    return isinstance(loss, dict) and ">" in str(loss.get("registered_name"))


def _is_of_keras(loss: Any) -> bool:
    if isinstance(loss, keras.losses.Loss):
        return type(loss).__module__.partition(".")[0] == "keras"
    return inspect.isfunction(loss) and loss.__module__.partition(".")[0] == "keras"


def _config_that_makes_it(loss: Any) -> Any:
    """Returns the config of a loss; None if the loss that it makes is a different one."""
    try:
        config = ValueLoss(loss).serialize()
        if isinstance(loss, keras.losses.Loss):
            config["config"] = {key: value for key, value in config["config"].items() if key != "name"}
        json.dumps(config)
        made = ValueLoss(config).loss
    except (TypeError, ValueError):  # raised for a loss that wraps another object
        return None
    return config if made is loss or _are_alike(made, loss) else None


def _are_alike(one: Any, other: Any) -> bool:
    """Whether two losses are of one class and have the same config, precision and values."""
    if type(one) is not type(other) or not isinstance(one, keras.losses.Loss):
        return False
    settings = [{**loss.get_config(), "name": None, "dtype": loss.dtype} for loss in (one, other)]
    return settings[0] == settings[1] and np.array_equal(_values(one), _values(other), equal_nan=True)


def _values(loss: keras.losses.Loss) -> np.ndarray:
    """The values of a loss for targets and values of many sizes; none if it is not a loss of numbers from −∞ to ∞."""
    targets, values = (tf.reshape(tf.constant(grid, loss.dtype), [-1, 1]) for grid in np.meshgrid(_NUMBERS, _NUMBERS))
    try:
        return np.asarray(loss.call(targets, values))
    except (TypeError, ValueError, tf.errors.OpError):
        return np.array([])
