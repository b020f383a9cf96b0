"""Layers `activation(x · W + b)`: dense layers, and convolutions, which im2col turns into dense layers.

im2col writes a convolution as a matrix product of image patches. On a CPU, XLA compiles convolutions to slow code:
MinAtar's network, with its gradients, takes eight times as long as without XLA. The same matrix products are fast.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from mtq.joint.network import call_on_rows, first_rows
from mtq.joint.row_wise import is_convolution, is_row_wise
from mtq.joint.rows import Rows
from mtq.keras_internals import flatten_layers, output_shapes

_SMALL = 2**14  # elements of the columns of one image, up to which im2col costs less time than XLA saves


def is_linear(layer: keras.Operation) -> bool:
    """Whether a layer computes `activation(x · W + b)`: Keras's own `Dense` or `Conv2D` with no special options.

    Excluded are LoRA, quantization, activity regularizers, activations that are layers, groups, dilations and
    `channels_first`.

    Args:
        layer: Any layer or operation.
    """
    if type(layer) not in (keras.layers.Dense, keras.layers.Conv2D):
        return False
    if layer.lora_enabled or layer.quantization_mode is not None or layer.activity_regularizer is not None:
        return False
    if isinstance(layer.activation, keras.layers.Layer):  # which may have weights
        return False
    is_dense = type(layer) is keras.layers.Dense
    return is_dense or (layer.groups == 1 and layer.data_format == "channels_last" and set(layer.dilation_rate) == {1})


def linear_outputs(layer: keras.layers.Layer, inputs: tf.Tensor, are_columns: bool = False) -> tf.Tensor:
    """Computes `x · W + b` in the layer's compute dtype.

    Args:
        layer: The linear layer, as `is_linear` defines it.
        inputs: The inputs x, in the compute dtype.
        are_columns: Whether x is the result of `im2col` for a convolution.

    Returns:
        The outputs before the activation.
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


def supports_im2col(layer: keras.Operation, images: Rows) -> bool:
    """Whether a layer is a linear convolution of images that have a known size and are small enough for im2col to pay.

    Args:
        layer: Any layer or operation.
        images: The inputs of the layer.
    """
    if not is_linear(layer) or type(layer) is not keras.layers.Conv2D:
        return False
    shape = images.pieces[0].shape
    return None not in shape[1:] and _are_small(layer, layer.compute_output_shape(shape))


def im2col(layer: keras.layers.Layer, images: tf.Tensor) -> tf.Tensor:
    """Gathers the image patch that each position of a convolution's output depends on.

    With these patches as columns (here along the last axis) im2col writes the convolution as a matrix product.

    Args:
        layer: The linear convolution.
        images: The images, `[B, height, width, channels]`.

    Returns:
        The columns, `[B, output height, output width, N]`, where N is the number of elements of one filter, in the
        order of the kernel's elements.
    """
    last, spans = [], []  # of each axis: the start of the last patch, and the size and stride of patches
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
    # First along the width, then along the height: fewer and longer pieces than one for each element of a patch.
    wide = [padded[:, :, column : column + last[1] + 1 : right] for column in range(width)]
    rows = tf.concat(wide, axis=-1)
    return tf.concat([rows[:, row : row + last[0] + 1 : down] for row in range(height)], axis=-1)


def call_with_im2col(layer: keras.layers.Layer, args: Any, kwargs: Any, training: bool) -> Any:
    """Calls a layer like `call_on_rows`, but writes linear convolutions as matrix products of image patches (im2col).

    Args:
        layer: The Keras layer or operation.
        args: The positional arguments, with `Rows` in place of tensors.
        kwargs: The keyword arguments, with `Rows` in place of tensors.
        training: Whether the layer is called in training mode.

    Returns:
        The outputs of the layer, with `Rows` in place of tensors.
    """
    images = first_rows(args, kwargs)
    if not supports_im2col(layer, images):
        return call_on_rows(layer, args, kwargs, training)

    def outputs(piece: tf.Tensor) -> tf.Tensor:
        columns = im2col(layer, tf.cast(piece, layer.compute_dtype))
        outputs = linear_outputs(layer, columns, are_columns=True)
        return outputs if layer.activation is None else layer.activation(outputs)

    return images.map(outputs, join=is_row_wise(layer))


def suits_xla_on_cpu(network: keras.Model) -> bool:
    """Whether XLA makes fast code of a network on a CPU: all its convolutions are linear and small enough for im2col.

    Args:
        network: The network, a functional model.
    """
    return all(_suits_im2col(layer) for layer in flatten_layers(network) if is_convolution(layer))


def _suits_im2col(layer: keras.layers.Layer) -> bool:
    shapes = output_shapes(layer)  # empty if another layer calls it
    is_known = layer.built and shapes and not any(None in shape[1:] for shape in shapes)
    return bool(is_known) and is_linear(layer) and all(_are_small(layer, shape) for shape in shapes)


def _are_small(layer: keras.layers.Layer, output_shape: tuple[int | None, ...]) -> bool:
    return math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape[:-1]) <= _SMALL  # type: ignore[arg-type]
