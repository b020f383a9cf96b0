"""Properties of layers: which are row-wise, and which are convolutions."""

import inspect

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


def is_row_wise(layer: keras.Operation, rank: int | None = None) -> bool:
    """Whether a layer is row-wise: its output for one row of a batch depends on that row alone.

    This is known for Keras's own layers, and declared by other layers, such as those of `mtq.networks`, with an
    attribute `is_row_wise = True`. Batch normalization, for example, is not row-wise.

    Args:
        layer: The Keras layer or operation.
        rank: The number of axes of the layer's input, including the batch axis; by default that of its first call. If
            it is unknown, an axis that is counted from the end, other than the last, is assumed to be the batch axis.
    """
    declared = _declared(layer)
    if declared is not None:
        return declared
    if type(layer) not in _ROW_WISE or not has_known_activation(layer):
        return False
    return getattr(layer, "noise_shape", None) is None and not _works_along_the_batch(layer, rank)


def _declared(layer: keras.Operation) -> bool | None:
    """The attribute `is_row_wise` of a layer; None if it has none, or if a subclass below it overrides `call`."""
    for holder in (layer, *type(layer).__mro__):
        if "is_row_wise" in vars(holder):
            return bool(vars(holder)["is_row_wise"])
        if "call" in vars(holder):
            return None
    return None


def _works_along_the_batch(layer: keras.Operation, rank: int | None) -> bool:
    """Whether a layer operates along the batch axis, or broadcasts a constant against it."""
    axes = np.ravel(getattr(layer, "axis", -1))
    constants = [np.shape(getattr(layer, name, 0)) for name in ("scale", "offset")] if _is_rescaling(layer) else []
    if (axes >= -1).all() and rank is None and not any(constants):
        return bool((axes == 0).any())
    if rank is None:
        rank = _known_rank(layer)
    if rank is None:
        return bool(((axes == 0) | (axes < -1)).any()) or any(len(shape) > 1 for shape in constants)
    return bool((axes % rank == 0).any()) or any(len(shape) >= rank and shape[-rank] != 1 for shape in constants)


def _is_rescaling(layer: keras.Operation) -> bool:
    return isinstance(layer, keras.layers.Rescaling)


def _known_rank(layer: keras.Operation) -> int | None:
    try:
        return len(keras.tree.flatten(layer.input)[0].shape)
    except (AttributeError, ValueError):  # never called on symbolic tensors, or called several times
        return None


def has_known_activation(layer: keras.Operation) -> bool:
    """Whether a layer has no activation, or one of Keras's own functions, which are row-wise.

    Args:
        layer: Any layer or operation.
    """
    activation = getattr(layer, "activation", None)
    return activation is None or any(activation is known for known in _ACTIVATIONS)


def is_convolution(layer: keras.Operation) -> bool:
    """Whether a layer is a convolution of any kind.

    Args:
        layer: Any layer or operation.
    """
    return isinstance(layer, _CONVOLUTIONS)
