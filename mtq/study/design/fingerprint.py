"""Texts by which a study detects that an environment or a network differs from the one its runs were made with."""

import hashlib
import json

import keras

from mtq.dynamics import Dynamics
from mtq.keras_internals import flatten_layers
from mtq.tasks.task import Task


def describe_environment(task: Task) -> str:
    """Returns a text that identifies a task's environment, as far as mtq can tell environments apart.

    Args:
        task: The task.
    """
    source = task.environment
    if isinstance(source, Dynamics):
        return f"{type(source).__module__}.{type(source).__qualname__} {sorted(vars(source).items())}"
    if isinstance(source, str):
        return source
    return f"{getattr(source, '__module__', '')}.{getattr(source, '__qualname__', type(source).__qualname__)}"


def fingerprint(network: keras.Model) -> str:
    """Computes a hash that is the same for networks of the same layers, whatever names Keras gave to the layers.

    Args:
        network: The network.
    """
    text = json.dumps(keras.saving.serialize_keras_object(network))
    for number, layer in enumerate(flatten_layers(network)):
        text = text.replace(f'"{layer.name}"', f'"#{number}"')
    return hashlib.sha256(text.encode()).hexdigest()[:16]
