"""Drawing a network's weights from one seed, whatever was drawn before in the process."""

import keras
import numpy as np


def initialize(network: keras.Model, seed: int) -> None:
    """Draws the weights of a built network anew, each layer by its own initializers.

    Args:
        network: A network of Keras layers.
        seed: The same seed gives the same bits.
    """
    layers = _layers(network)
    for layer, sequence in zip(layers, np.random.SeedSequence(seed).spawn(len(layers)), strict=True):
        for variable, draw in zip(
            layer._trainable_variables, sequence.generate_state(len(layer._trainable_variables)), strict=True
        ):
            initializer = getattr(layer, f"{variable.name}_initializer", None)
            if initializer is None:
                continue
            config = initializer.get_config()
            if "seed" in config:
                initializer = initializer.__class__.from_config({**config, "seed": int(draw)})
            variable.assign(initializer(variable.shape, dtype=variable.dtype))


def undrawable(network: keras.Model) -> list[str]:
    """The weights that `initialize` leaves as they are, for their layers do not say how they are drawn.

    Args:
        network: A built network.
    """
    return [
        variable.path
        for layer in _layers(network)
        for variable in layer._trainable_variables
        if getattr(layer, f"{variable.name}_initializer", None) is None
    ]


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in network._flatten_layers()
        if not isinstance(layer, keras.Model) and layer._trainable_variables
    ]
