"""What is pluggable in an arm, as JSON values, of which every run makes an object of its own; and as text."""

import inspect
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.learning.losses import TDLoss

_NUMBERS = (-1e3, -30.0, -3.0, -1.0, -0.3, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 10.0, 1e2, 1e4)  # within float16


def as_config(pluggable: Any) -> Any:
    """An aggregator, a weighting, or weights of losses by task: names and None as they are, objects as configs.

    Args:
        pluggable: A name, an object, or a dict of objects and numbers.
    """
    if pluggable is None or isinstance(pluggable, str):
        return pluggable
    if isinstance(pluggable, dict) and "class_name" not in pluggable:
        return {name: keras.saving.serialize_keras_object(weight) for name, weight in pluggable.items()}
    return keras.saving.serialize_keras_object(pluggable)


def loss_config(loss: Any) -> Any:
    """A loss: names and configs as they are, a loss of Keras as its config without its name.

    Losses of one's own are refused: they would have to be made again in threads and processes that may not know them.

    Args:
        loss: As `MultiTaskDQN.compile` takes it.

    Raises:
        ValueError: There is no such loss, it is not one of Keras, or its config does not hold all its arguments.
    """
    if isinstance(loss, str | dict) and not _is_registered(loss):
        TDLoss(loss)
        return loss
    if not _is_of_keras(loss):
        raise ValueError(
            "loss of a study must be a name or a loss of Keras, for every run makes it anew, in a thread or a process "
            f"of its own. Received: {loss!r}."
        )
    config = _config_that_makes_it(loss)
    if config is None:
        raise ValueError(
            "loss of a study must be one of which Keras's config holds all arguments, for every run makes it anew from "
            f"that. Received: {loss!r}. Give another loss, or the same with its defaults."
        )
    return config


def as_text(config: Any) -> str:
    """A setting as a reader would write it.

    Args:
        config: As `as_config` and `loss_config` return it.
    """
    if not isinstance(config, dict):
        return str(config)
    if "class_name" not in config:
        return f"{{{', '.join(f'{name}: {as_text(one)}' for name, one in config.items())}}}"
    arguments = config["config"]
    if isinstance(arguments, str):  # a function's, which is its name
        return arguments
    return f"{config['class_name']}({', '.join(f'{k}={v}' for k, v in arguments.items() if k != 'name')})"


def _is_registered(loss: Any) -> bool:
    """Whether it is the config of a loss of one's own."""
    return isinstance(loss, dict) and ">" in str(loss.get("registered_name"))


def _is_of_keras(loss: Any) -> bool:
    if isinstance(loss, keras.losses.Loss):
        return type(loss).__module__.partition(".")[0] == "keras"
    return inspect.isfunction(loss) and loss.__module__.partition(".")[0] == "keras"


def _config_that_makes_it(loss: Any) -> Any:
    """None if what it makes is another."""
    try:
        config = TDLoss(loss).serialize()
        if isinstance(loss, keras.losses.Loss):
            config["config"] = {key: value for key, value in config["config"].items() if key != "name"}
        json.dumps(config)
        made = TDLoss(config).loss
    except (TypeError, ValueError):  # of one that wraps something else
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
