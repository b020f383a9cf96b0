"""What XLA compiles of a training, by itself."""

import keras
import tensorflow as tf

from mtq.joint.linear import suits_xla_on_cpu
from mtq.joint.row_wise import is_convolution
from mtq.keras_internals import flatten_layers, operations_are_watched


def is_on_cpu() -> bool:
    """Whether there is neither a GPU nor a TPU."""
    return not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def xla_pays(network: keras.Model) -> bool:
    """Whether a loop of acting, storing, sampling and learning is faster compiled: not with large images on a CPU.

    Args:
        network: A functional model.
    """
    return not operations_are_watched() and (not is_on_cpu() or suits_xla_on_cpu(network))


def xla_pays_for_update(network: keras.Model) -> bool:
    """Whether the update alone is faster compiled, within a graph that is not.

    On a CPU that of small images is, a little. Entering and leaving costs dense networks more than they gain.

    Args:
        network: A functional model.
    """
    if operations_are_watched():
        return False
    has_convolutions = any(is_convolution(layer) for layer in flatten_layers(network))
    return is_on_cpu() and has_convolutions and suits_xla_on_cpu(network)
