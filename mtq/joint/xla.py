"""Decisions about which parts of training XLA compiles by default."""

import keras

from mtq.joint.devices import is_on_cpu
from mtq.joint.linear import suits_xla_on_cpu
from mtq.joint.row_wise import is_convolution
from mtq.keras_internals import flatten_layers, operations_are_watched


def xla_pays(network: keras.Model) -> bool:
    """Whether XLA makes a loop of acting, storing, sampling and learning faster. It does not for large images on a CPU.

    Args:
        network: The network, a functional model.
    """
    return not operations_are_watched() and (not is_on_cpu() or suits_xla_on_cpu(network))


def xla_pays_for_update(network: keras.Model) -> bool:
    """Whether XLA makes the update alone faster, within a graph that is not compiled.

    On a CPU the update for small images becomes slightly faster. For dense networks, entering and leaving compiled code
    costs more than it gains.

    Args:
        network: The network, a functional model.
    """
    if operations_are_watched():
        return False
    return is_on_cpu() and has_convolutions(network) and suits_xla_on_cpu(network)


def has_convolutions(network: keras.Model) -> bool:
    """Whether a network has convolutions.

    Args:
        network: The network, a functional model.
    """
    return any(is_convolution(layer) for layer in flatten_layers(network))
