"""What can be said of layers: which treat every row of a batch for itself, and which are convolutions."""

import inspect
from typing import Any

import keras
import numpy as np

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
_ROW_WISE = {getattr(keras.layers, name) for name in _NAMES}
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_ACTIVATIONS = [
    value
    for name, value in vars(keras.activations).items()
    if inspect.isfunction(value) and name not in ("get", "serialize", "deserialize")
]


def is_row_wise(layer: Any, rank: int | None = None) -> bool:
    """Whether a layer's output for one row depends on that row alone.

    It is known of Keras's own layers, those of `mtq.networks`, and of any other that says so by an attribute
    `is_row_wise = True`. Batch normalization, for one, is not.

    Args:
        layer: A Keras layer or operation.
        rank: The number of axes of its input, the batch included; by default that of its first call. Where it is not
            known, an axis that is counted from the end, unless it is the last, is taken for the batch.
    """
    declared = _declared(layer)
    if declared is not None:
        return declared
    if type(layer) not in _ROW_WISE or not has_known_activation(layer):
        return False
    return getattr(layer, "noise_shape", None) is None and not _works_along_the_batch(layer, rank)


def _declared(layer: Any) -> bool | None:
    """The attribute `is_row_wise` of a layer; None if there is none, or a subclass has overridden `call` since."""
    for holder in (layer, *type(layer).__mro__):
        if "is_row_wise" in vars(holder):
            return bool(vars(holder)["is_row_wise"])
        if "call" in vars(holder):
            return None
    return None


def _works_along_the_batch(layer: Any, rank: int | None) -> bool:
    """Whether an axis of a layer, or what it broadcasts against, is that of the rows."""
    axes = np.ravel(getattr(layer, "axis", -1))
    constants = [np.shape(getattr(layer, name, 0)) for name in ("scale", "offset")] if _is_rescaling(layer) else []
    if (axes >= -1).all() and rank is None and not any(constants):
        return bool((axes == 0).any())
    if rank is None:
        rank = _known_rank(layer)
    if rank is None:
        return bool(((axes == 0) | (axes < -1)).any()) or any(len(shape) > 1 for shape in constants)
    return bool((axes % rank == 0).any()) or any(len(shape) >= rank and shape[-rank] != 1 for shape in constants)


def _is_rescaling(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Rescaling)


def _known_rank(layer: Any) -> int | None:
    try:
        return len(keras.tree.flatten(layer.input)[0].shape)
    except (AttributeError, ValueError):  # it was never called on symbolic tensors, or on several
        return None


def has_known_activation(layer: Any) -> bool:
    """Whether the activation of a layer, if it has one, is one of Keras's own functions, which are row-wise."""
    activation = getattr(layer, "activation", None)
    return activation is None or any(activation is known for known in _ACTIVATIONS)


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution of any kind."""
    return isinstance(layer, _CONVOLUTIONS)
