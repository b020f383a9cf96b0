"""Per-task gradients of the weights W and b of layers `activation(x · W + b)`, from those of `x · W + b`."""

import keras
import tensorflow as tf

from mtq.joint.rows import Rows
from mtq.task_gradients.row_products import RowProducts
from mtq.task_gradients.variable_gradients import SeparateGradients, StackedGradients, VariableGradients


def kernel_part(
    layer: keras.layers.Layer, inputs: Rows, output_gradients: Rows, are_columns: bool = False
) -> VariableGradients:
    """Computes the tasks' gradients with respect to the kernel W.

    Args:
        layer: The linear layer, as `is_linear` defines it.
        inputs: The inputs x.
        output_gradients: The gradients with respect to `x · W + b`.
        are_columns: Whether x is the result of `im2col` for a convolution.

    Returns:
        The gradients of the tasks of `inputs`.
    """
    if type(layer) is keras.layers.Dense:
        return RowProducts(_matrix(inputs), _matrix(output_gradients))
    if are_columns:
        products = RowProducts(_matrix(inputs), _matrix(output_gradients))
        # The kernels of convolutions are small, so that their gradients are always materialized.
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
    """Computes the tasks' gradients with respect to the bias b, as sums of those with respect to `x · W + b`.

    Args:
        output_gradients: The gradients with respect to `x · W + b`.

    Returns:
        The gradients of the tasks of `output_gradients`.
    """
    rows = _matrix(output_gradients)
    return StackedGradients(rows.tasks, rows.sums(rows.joined))


def _matrix(rows: Rows) -> Rows:
    """Reshapes rows to float32 matrices `[rows, features]`, merging all axes but the last into the rows."""
    inner = rows.pieces[0].shape[1:-1].num_elements()
    matrices = [tf.reshape(tf.cast(piece, tf.float32), [-1, piece.shape[-1]]) for piece in rows.pieces]
    if rows.is_joined:
        return Rows(rows.tasks, joined=matrices[0], sizes=[size * inner for size in rows.sizes])
    return Rows(rows.tasks, matrices)
