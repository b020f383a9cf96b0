"""Per-task gradients of the scale γ and the offset β of layers `γ · x̂ + β`, from those of their outputs.

x̂ is the normalized input. Each row of it depends on one row of the input alone, so that the layer is called once for
all tasks, and only the sums over rows, `Σ dy · x̂` and `Σ dy`, are computed task by task.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.joint.row_wise import is_row_wise
from mtq.joint.rows import Rows
from mtq.task_gradients.variable_gradients import StackedGradients, VariableGradients

_NAMES = {
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
    if type(layer) not in _NAMES or layer.activity_regularizer is not None or getattr(layer, "rms_scaling", False):
        return False
    axes = sorted(axis % rank for axis in np.ravel(layer.axis))
    return axes == list(range(rank - len(axes), rank)) and is_row_wise(layer, rank)


def scale_of(layer: keras.layers.Layer) -> Any:
    """Returns the scale γ of a normalization; None if it has none.

    Args:
        layer: The layer, for which `is_normalization` holds.
    """
    return getattr(layer, _NAMES[type(layer)][0])


def offset_of(layer: keras.layers.Layer) -> Any:
    """Returns the offset β of a normalization; None if it has none.

    Args:
        layer: The layer, for which `is_normalization` holds.
    """
    name = _NAMES[type(layer)][1]
    return None if name is None else getattr(layer, name)


def scale_part(layer: keras.layers.Layer, inputs: Rows, output_gradients: Rows) -> VariableGradients:
    """Computes the tasks' gradients with respect to the scale γ, `Σ dy · x̂` over each task's rows.

    Args:
        layer: The layer, for which `is_normalization` holds.
        inputs: The inputs x.
        output_gradients: The gradients dy with respect to the outputs.

    Returns:
        The gradients of the tasks of `inputs`.
    """
    weights = [(scale_of(layer), 1.0), (offset_of(layer), 0.0)]
    neutral = [(variable, tf.fill(variable.shape, value)) for variable, value in weights if variable is not None]
    with keras.StatelessScope(neutral, initialize_variables=False):
        # The layer has computed the same mean and variance before, which the graph then shares.
        normalized = inputs.map(layer)
    products = [
        tf.cast(x, tf.float32) * tf.cast(gradient, tf.float32)
        for x, gradient in zip(normalized.pieces, output_gradients.pieces, strict=True)
    ]
    return _sums_over_rows(inputs.of_pieces(products), scale_of(layer).shape)


def offset_part(layer: keras.layers.Layer, output_gradients: Rows) -> VariableGradients:
    """Computes the tasks' gradients with respect to the offset β, `Σ dy` over each task's rows.

    Args:
        layer: The layer, for which `is_normalization` holds.
        output_gradients: The gradients dy with respect to the outputs.

    Returns:
        The gradients of the tasks of `output_gradients`.
    """
    gradients = output_gradients.map(lambda piece: tf.cast(piece, tf.float32))
    return _sums_over_rows(gradients, offset_of(layer).shape)


def _sums_over_rows(rows: Rows, shape: tuple[int, ...]) -> VariableGradients:
    """Sums over all axes of each task's rows but the last ones, which have the given shape."""
    inner = rows.pieces[0].shape[1 : rows.pieces[0].shape.rank - len(shape)].num_elements()
    matrices = [tf.reshape(piece, [-1, int(np.prod(shape))]) for piece in rows.pieces]
    if rows.is_joined:
        merged = Rows(rows.tasks, joined=matrices[0], sizes=[size * inner for size in rows.sizes])
    else:
        merged = Rows(rows.tasks, matrices)
    return StackedGradients(rows.tasks, tf.reshape(merged.sums(merged.joined), [len(rows.tasks), *shape]))
