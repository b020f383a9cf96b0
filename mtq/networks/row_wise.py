"""What can be said of layers: which treat every row of a batch for itself, and which are convolutions."""

from typing import Any

import keras
import numpy as np
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

from mtq.networks.encoders import ChannelPadding
from mtq.networks.heads import DuelingHead

_IN_ONE_TO_THREE_DIMENSIONS = [
    "Conv",
    "ZeroPadding",
    "Cropping",
    "UpSampling",
    "SpatialDropout",
    "MaxPooling",
    "AveragePooling",
    "GlobalMaxPooling",
    "GlobalAveragePooling",
]
_OTHERS = [
    "Dense",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Softmax",
    "Identity",
    "LayerNormalization",
    "RMSNormalization",
    "GroupNormalization",
    "UnitNormalization",
    "Dropout",
    "GaussianNoise",
    "GaussianDropout",
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Rescaling",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Minimum",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
]
_NAMES = [f"{name}{dimensions}D" for name in _IN_ONE_TO_THREE_DIMENSIONS for dimensions in (1, 2, 3)] + _OTHERS
_ROW_WISE = {ChannelPadding, DuelingHead, *(getattr(keras.layers, name) for name in _NAMES)}


def is_row_wise(layer: Any) -> bool:
    """Whether a layer's output for one row depends on that row alone.

    It is known of Keras's own layers, those of `mtq.networks`, and of any other that says so by an attribute
    `is_row_wise = True`. Batch normalization, for one, is not.

    Args:
        layer: A Keras layer or operation.
    """
    said = getattr(layer, "is_row_wise", None)
    if said is not None:
        return bool(said)
    axes = np.ravel(getattr(layer, "axis", -1))
    is_usual = has_known_activation(layer) and 0 not in axes and getattr(layer, "noise_shape", None) is None
    return type(layer) in _ROW_WISE and is_usual


def has_known_activation(layer: Any) -> bool:
    """Whether the activation of a layer, if it has one, is one of Keras's own functions, which are row-wise."""
    activation = getattr(layer, "activation", None)
    return activation is None or getattr(activation, "__module__", "").startswith("keras.src.activations")


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution of any kind."""
    return isinstance(layer, BaseConv | BaseConvTranspose | BaseDepthwiseConv | BaseSeparableConv)
