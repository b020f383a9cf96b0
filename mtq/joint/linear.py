"""Layers `activation(x · W + b)`: dense ones, and convolutions, which are dense layers of image patches.

On a CPU XLA makes slow code of convolutions (eight times TensorFlow's time for MinAtar's network, with its gradients),
but good code of the same products written out.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from mtq.joint.network import call_on_rows, first_rows
from mtq.joint.row_wise import is_convolution, is_row_wise
from mtq.joint.rows import Rows

_SMALL = 2**14  # numbers in the patches of one image, up to which writing them out costs less than XLA saves


def is_linear(layer: Any) -> bool:
    """Whether the functions below know a layer: Keras's own `Dense` or `Conv2D`, as plain as they come."""
    if type(layer) not in (keras.layers.Dense, keras.layers.Conv2D):
        return False
    if layer.lora_enabled or layer.quantization_mode is not None or layer.activity_regularizer is not None:
        return False
    if isinstance(layer.activation, keras.layers.Layer):  # which may have weights
        return False
    is_dense = type(layer) is keras.layers.Dense
    return is_dense or (layer.groups == 1 and layer.data_format == "channels_last" and set(layer.dilation_rate) == {1})


def linear_outputs(layer: Any, inputs: tf.Tensor, are_columns: bool = False) -> tf.Tensor:
    """`x · W + b` in the layer's own precision.

    Args:
        layer: A linear layer.
        inputs: x, in that precision.
        are_columns: Whether x are the `im2col` of a convolution.
    """
    kernel = tf.cast(layer.kernel, layer.compute_dtype)
    if are_columns:
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        outputs = tf.matmul(rows, tf.reshape(kernel, [inputs.shape[-1], layer.filters]))
        outputs = tf.reshape(outputs, [-1, *inputs.shape[1:-1], layer.filters])
    elif type(layer) is keras.layers.Dense:
        outputs = keras.ops.matmul(inputs, kernel)
    else:
        outputs = layer.convolution_op(inputs, kernel)
    return outputs + tf.cast(layer.bias, layer.compute_dtype) if layer.use_bias else outputs


def supports_im2col(layer: Any, images: Rows) -> bool:
    """Whether a layer is a linear convolution, of small images of known size."""
    if not is_linear(layer) or type(layer) is not keras.layers.Conv2D:
        return False
    shape = images.pieces[0].shape
    return None not in shape[1:] and _are_small(layer, layer.compute_output_shape(shape))


def im2col(layer: Any, images: tf.Tensor) -> tf.Tensor:
    """The numbers that each place of a convolution's output is a product of.

    Args:
        layer: A linear convolution.
        images: `[B, rows, columns, channels]`.

    Returns:
        `[B, rows, columns, numbers of a filter]`, in the order of the kernel's, rows and columns being the output's.
    """
    last, spans = [], []  # of every axis: the last patch's first place, and those of all patches
    paddings = [[0, 0]]
    for size, window, stride in zip(images.shape[1:-1], layer.kernel_size, layer.strides, strict=True):
        is_same = layer.padding == "same"
        places = -(-size // stride) if is_same else (size - window) // stride + 1
        missing = max((places - 1) * stride + window - size, 0) if is_same else 0
        paddings.append([missing // 2, missing - missing // 2])
        last.append((places - 1) * stride)
        spans.append((window, stride))
    padded = tf.pad(images, [*paddings, [0, 0]]) if layer.padding == "same" else images
    (height, down), (width, right) = spans
    shifted = [
        padded[:, row : row + last[0] + 1 : down, column : column + last[1] + 1 : right]
        for row in range(height)
        for column in range(width)
    ]
    return tf.concat(shifted, axis=-1)


def call_with_im2col(layer: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """As `call_on_rows`, but linear convolutions are written out as products of image patches.

    Args:
        layer: A Keras layer or operation.
        args: With `Rows` in the place of tensors.
        kwargs: Likewise.
        training: Whether it is for training.
    """
    images = first_rows(args, kwargs)
    if not supports_im2col(layer, images):
        return call_on_rows(layer, args, kwargs, training)

    def outputs(piece: tf.Tensor) -> tf.Tensor:
        patches = im2col(layer, tf.cast(piece, layer.compute_dtype))
        outputs = linear_outputs(layer, patches, are_columns=True)
        return outputs if layer.activation is None else layer.activation(outputs)

    return images.map(outputs, join=is_row_wise(layer))


def suits_xla_on_cpu(network: keras.Model) -> bool:
    """Whether XLA makes fast code of a network on a CPU: its convolutions are linear and of small patches.

    Args:
        network: A functional model.
    """
    return all(_has_small_patches(layer) for layer in network._flatten_layers() if is_convolution(layer))


def _has_small_patches(layer: Any) -> bool:
    shapes = [node.outputs[0].shape for node in layer._inbound_nodes]  # none where another layer calls it
    is_known = layer.built and shapes and not any(None in shape[1:] for shape in shapes)
    return bool(is_known) and is_linear(layer) and all(_are_small(layer, shape) for shape in shapes)


def _are_small(layer: Any, output_shape: tuple[int | None, ...]) -> bool:
    return math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape[:-1]) <= _SMALL  # type: ignore[arg-type]
