"""Per-task gradients of the scale γ and the offset β of layers `γ · x̂ + β`, from those of their outputs.

Each row of the normalized input x̂ depends on one row of the input alone. The layer is therefore called once for all
tasks, and only the sums over rows, `Σ dy · x̂` and `Σ dy`, are computed task by task.
"""

import math

import tensorflow as tf

from mtq.joint.devices import is_on_cpu
from mtq.joint.rows import Rows
from mtq.task_gradients.variable_gradients import StackedGradients, VariableGradients


def scale_part(normalized_inputs: Rows, output_gradients: Rows, shape: tuple[int, ...]) -> VariableGradients:
    """Computes the tasks' gradients with respect to the scale γ, `Σ dy · x̂` over each task's rows.

    Args:
        normalized_inputs: The normalized inputs x̂.
        output_gradients: The gradients dy with respect to the outputs.
        shape: The shape of γ.

    Returns:
        The gradients of the tasks of `normalized_inputs`.
    """
    pairs = zip(normalized_inputs.pieces, output_gradients.pieces, strict=True)
    products = [tf.cast(x, tf.float32) * tf.cast(gradient, tf.float32) for x, gradient in pairs]
    return offset_part(normalized_inputs.of_pieces(products), shape)


def offset_part(output_gradients: Rows, shape: tuple[int, ...]) -> VariableGradients:
    """Computes the tasks' gradients with respect to the offset β, `Σ dy` over each task's rows.

    Args:
        output_gradients: The gradients dy with respect to the outputs.
        shape: The shape of β, that of the last axes of the outputs.

    Returns:
        The gradients of the tasks of `output_gradients`.
    """
    rows, size = output_gradients, math.prod(shape)
    num_tasks = len(rows.tasks)
    if rows.has_equal_sizes:
        stacked = tf.reshape(tf.cast(rows.joined, tf.float32), [num_tasks, -1, size])
        if is_on_cpu():  # where XLA sums columns slowly, above all of values that it computes anew for each
            sums = tf.matmul(tf.ones([num_tasks, 1, stacked.shape[1]]), stacked)
        else:
            sums = tf.reduce_sum(stacked, axis=1)
    else:
        matrices = [tf.reshape(tf.cast(part, tf.float32), [-1, size]) for part in rows.parts]
        sums = tf.stack([tf.reduce_sum(matrix, axis=0) for matrix in matrices])
    return StackedGradients(rows.tasks, tf.reshape(sums, [num_tasks, *shape]))
