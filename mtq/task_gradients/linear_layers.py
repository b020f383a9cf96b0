"""Layers `activation(x · W + b)`: of the gradients of `x · W + b` those of W and b are made, task by task."""

from typing import Any

import keras
import tensorflow as tf

from mtq.joint.rows import Rows
from mtq.task_gradients.row_products import RowProducts
from mtq.task_gradients.variable_gradients import SeparateGradients, StackedGradients, VariableGradients


def kernel_part(layer: Any, inputs: Rows, output_gradients: Rows, are_columns: bool = False) -> VariableGradients:
    """The tasks' gradients of W.

    Args:
        layer: A linear layer.
        inputs: x.
        output_gradients: The gradients of `x · W + b`.
        are_columns: Whether x are the `im2col` of a convolution.
    """
    if type(layer) is keras.layers.Dense:
        return RowProducts(_matrix(inputs), _matrix(output_gradients))
    if are_columns:
        products = RowProducts(_matrix(inputs), _matrix(output_gradients))  # kernels are small: they are always held
        shaped = [tf.reshape(copy, layer.kernel.shape) for copy in products.copies()]
        return SeparateGradients(dict(zip(products.tasks, shaped, strict=True)))
    copies = {}
    for task, x, gradient in zip(inputs.tasks, inputs.parts, output_gradients.parts, strict=True):
        copy = tf.raw_ops.Conv2DBackpropFilter(
            input=tf.cast(x, gradient.dtype),
            filter_sizes=layer.kernel.shape,
            out_backprop=gradient,
            strides=[1, *layer.strides, 1],
            padding=layer.padding.upper(),
        )
        copies[task] = tf.cast(copy, tf.float32)
    return SeparateGradients(copies)


def bias_part(output_gradients: Rows) -> VariableGradients:
    """The tasks' gradients of b: sums of those of `x · W + b`."""
    rows = _matrix(output_gradients)
    return StackedGradients(rows.tasks, rows.sums(rows.joined))


def _matrix(rows: Rows) -> Rows:
    """float32 `[rows, features]`; of tensors with more axes the inner ones become rows."""
    inner = rows.pieces[0].shape[1:-1].num_elements()
    matrices = [tf.reshape(tf.cast(piece, tf.float32), [-1, piece.shape[-1]]) for piece in rows.pieces]
    if rows.is_joined:
        return Rows(rows.tasks, joined=matrices[0], sizes=[size * inner for size in rows.sizes])
    return Rows(rows.tasks, matrices)
