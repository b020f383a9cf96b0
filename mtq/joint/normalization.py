"""Layers `γ · x̂ + β`, where x̂ is a normalized input: layer, RMS and group normalization.

Keras computes them as `x · (γ / σ) + (β − μ γ / σ)`. Its gradient takes several passes over the rows, and XLA on a CPU
adds the numbers of a row one after the other. Here x̂ has its gradient in closed form, and means over long rows are
matrix products on a CPU. Layer normalization then adds an eighth to a fifth to the time of the in-graph loop of an MLP
of two layers of 256, in place of two fifths.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.joint.devices import is_on_cpu
from mtq.joint.row_wise import is_row_wise

_LONG = 64  # numbers in a row, from which on XLA on a CPU computes their mean faster as a matrix product
_WEIGHTS = {
    keras.layers.LayerNormalization: ("gamma", "beta"),
    keras.layers.GroupNormalization: ("gamma", "beta"),
    keras.layers.RMSNormalization: ("scale", None),
}


def is_normalization(layer: keras.Operation, rank: int) -> bool:
    """Whether a layer computes `γ · x̂ + β` for each row alone, with γ and β along the last axes of its input.

    This is known for Keras's own layer, RMS and group normalization without special options.

    Args:
        layer: Any layer or operation.
        rank: The number of axes of the layer's input, including the batch axis.
    """
    if type(layer) not in _WEIGHTS or layer.activity_regularizer is not None or getattr(layer, "rms_scaling", False):
        return False
    axes = sorted(axis % rank for axis in np.ravel(layer.axis))
    return axes == list(range(rank - len(axes), rank)) and is_row_wise(layer, rank)


def scale_and_offset(layer: keras.layers.Layer) -> tuple[Any, Any]:
    """Returns the variables γ and β of a normalization; None in place of one that it does not have.

    Args:
        layer: The layer, for which `is_normalization` holds.
    """
    scale, offset = _WEIGHTS[type(layer)]
    return getattr(layer, scale), None if offset is None else getattr(layer, offset)


def normalized(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Computes the normalized input x̂, in float32 or, for inputs of it, in float64.

    Args:
        layer: The layer, for which `is_normalization` holds.
        inputs: The inputs x, `[B, …]`.

    Returns:
        The normalized inputs, `[B, …]`.
    """
    x = tf.cast(inputs, keras.backend.result_type(keras.backend.standardize_dtype(inputs.dtype), "float32"))
    shape = tf.shape(x)
    if type(layer) is keras.layers.GroupNormalization:
        grouped = tf.reshape(x, tf.concat([shape[:-1], [layer.groups, x.shape[-1] // layer.groups]], axis=0))
        axes = [axis for axis in range(1, grouped.shape.rank) if axis != grouped.shape.rank - 2]
        mean: Callable[[tf.Tensor], tf.Tensor] = lambda y: tf.reduce_mean(y, axis=axes, keepdims=True)  # noqa: E731
    else:
        grouped = tf.reshape(x, [-1, int(np.prod([x.shape[axis] for axis in np.ravel(layer.axis)]))])
        mean = _mean_of_row
    is_centered = type(layer) is not keras.layers.RMSNormalization
    outputs = _normalize(grouped, mean, is_centered, layer.epsilon)
    return tf.ensure_shape(tf.reshape(outputs, shape), inputs.shape)


def scaled(layer: keras.layers.Layer, normalized_inputs: tf.Tensor) -> tf.Tensor:
    """Computes the outputs `γ · x̂ + β` in the layer's compute dtype.

    Args:
        layer: The layer, for which `is_normalization` holds.
        normalized_inputs: The normalized inputs x̂.
    """
    scale, offset = scale_and_offset(layer)
    outputs = normalized_inputs
    if scale is not None:
        outputs *= tf.cast(scale.value, outputs.dtype)
    if offset is not None:
        outputs += tf.cast(offset.value, outputs.dtype)
    return tf.cast(outputs, layer.compute_dtype)


def normalization_outputs(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Computes the outputs `γ · x̂ + β` of a normalization from its inputs, in the layer's compute dtype.

    Args:
        layer: The layer, for which `is_normalization` holds.
        inputs: The inputs x, `[B, …]`.
    """
    return scaled(layer, normalized(layer, inputs))


def _normalize(
    inputs: tf.Tensor, mean: Callable[[tf.Tensor], tf.Tensor], is_centered: bool, epsilon: float
) -> tf.Tensor:
    """Computes `x̂ = (x − μ) / √(mean((x − μ)²) + ε)`, with μ = 0 if inputs are not centered."""

    @tf.custom_gradient
    def normalize(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        centered = x - mean(x) if is_centered else x
        inverse = tf.math.rsqrt(mean(tf.square(centered)) + epsilon)
        outputs = centered * inverse

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            projected = upstream - outputs * mean(upstream * outputs)
            return inverse * (projected - mean(upstream) if is_centered else projected)

        return outputs, gradient

    return normalize(inputs)


def _mean_of_row(matrix: tf.Tensor) -> tf.Tensor:
    size = matrix.shape[1]
    if size < _LONG or not is_on_cpu():
        return tf.reduce_mean(matrix, axis=1, keepdims=True)
    return tf.matmul(matrix, tf.fill([size, 1], tf.cast(1.0 / size, matrix.dtype)))
