"""Layers `activation(x · W + b)`: of the gradient of `x · W + b` theirs are made, task by task."""

from typing import Any

import keras
import tensorflow as tf

from mtq.networks.rows import Rows
from mtq.task_gradients.parts import Copies, Part, Stacked
from mtq.task_gradients.row_products import RowProducts


def is_linear(layer: Any) -> bool:
    """Whether the functions below know a layer: Keras's own `Dense` or `Conv2D`, as plain as they come."""
    if type(layer) not in (keras.layers.Dense, keras.layers.Conv2D):
        return False
    if layer.lora_enabled or layer.quantization_mode is not None or layer.activity_regularizer is not None:
        return False
    is_dense = type(layer) is keras.layers.Dense
    return is_dense or (layer.groups == 1 and layer.data_format == "channels_last" and set(layer.dilation_rate) == {1})


def linear_outputs(layer: Any, inputs: tf.Tensor) -> tf.Tensor:
    """`x · W + b` in the layer's own precision.

    Args:
        layer: A linear layer.
        inputs: x, in that precision.
    """
    kernel = tf.cast(layer.kernel, layer.compute_dtype)
    is_dense = type(layer) is keras.layers.Dense
    outputs = keras.ops.matmul(inputs, kernel) if is_dense else layer.convolution_op(inputs, kernel)
    return outputs + tf.cast(layer.bias, layer.compute_dtype) if layer.use_bias else outputs


def kernel_part(layer: Any, inputs: Rows, output_gradients: Rows) -> Part:
    """The tasks' gradients of W.

    Args:
        layer: A linear layer.
        inputs: x.
        output_gradients: The gradients of `x · W + b`.
    """
    if type(layer) is keras.layers.Dense:
        return RowProducts(_matrix(inputs), _matrix(output_gradients))
    copies = {}
    for task, x, gradient in zip(inputs.tasks, inputs.parts, output_gradients.parts, strict=True):
        copy = tf.raw_ops.Conv2DBackpropFilter(
            input=x,
            filter_sizes=layer.kernel.shape,
            out_backprop=gradient,
            strides=[1, *layer.strides, 1],
            padding=layer.padding.upper(),
        )
        copies[task] = tf.cast(copy, tf.float32)
    return Copies(copies)


def bias_part(output_gradients: Rows) -> Part:
    """The tasks' gradients of b: sums of those of `x · W + b`."""
    rows = _matrix(output_gradients)
    return Stacked(rows.tasks, rows.sums(rows.joined))


def _matrix(rows: Rows) -> Rows:
    """float32 `[rows, features]`; of tensors with more axes the inner ones become rows."""
    inner = rows.pieces[0].shape[1:-1].num_elements()
    matrices = [tf.reshape(tf.cast(piece, tf.float32), [-1, piece.shape[-1]]) for piece in rows.pieces]
    if rows.is_joined:
        return Rows(rows.tasks, joined=matrices[0], sizes=[size * inner for size in rows.sizes])
    return Rows(rows.tasks, matrices)
