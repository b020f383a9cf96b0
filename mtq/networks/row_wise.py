"""Which layers treat every row of a batch for itself."""

from typing import Any

import keras

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
    return type(layer) in _ROW_WISE if said is None else bool(said)
