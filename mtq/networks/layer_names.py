"""A check that TensorFlow can use the names of layers as prefixes of the names of a graph's operations."""

import re

import keras

from mtq.keras_internals import flatten_layers, is_functional

_NAME = re.compile(r"[A-Za-z0-9_.>-]+")
_FIRST = re.compile(r"[A-Za-z0-9.]")  # for layers that may be called outside all others


def check_layer_names(network: keras.Model) -> None:
    """Checks that all layers have names that can be used in a graph, because training and export run in graphs.

    Args:
        network: The network.

    Raises:
        ValueError: A layer has a name that TensorFlow does not accept.
    """
    outermost = {id(network)}
    for model in flatten_layers(network):
        if isinstance(model, keras.Sequential) or is_functional(model):
            outermost |= {id(layer) for layer in model.layers}
    for layer in flatten_layers(network):
        if not _NAME.fullmatch(layer.name) or (id(layer) in outermost and not _FIRST.match(layer.name)):
            raise ValueError(
                "The name of a layer must be of letters, digits and _ . > -, and begin with a letter, a digit or a "
                f"dot, as TensorFlow requires. Received: {layer.name!r}, a {type(layer).__name__}. Give the layer "
                "another name=…."
            )
