"""Convolutions written out as products of image patches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtq
from mtq.joint.linear import call_with_im2col, im2col, linear_outputs, suits_xla_on_cpu, supports_im2col
from mtq.joint.rows import Rows

LAYERS = {
    "plain": {"kernel_size": 3},
    "strides": {"kernel_size": 3, "strides": 2},
    "oblong": {"kernel_size": (2, 4), "strides": (1, 3), "activation": "relu"},
    "strides beyond the kernel": {"kernel_size": 2, "strides": 3},
    "same": {"kernel_size": 3, "padding": "same"},
    "same, even": {"kernel_size": (4, 2), "padding": "same", "use_bias": False},
    "same, strides": {"kernel_size": 5, "strides": (2, 3), "padding": "same", "activation": "tanh"},
    "same, strides beyond the kernel": {"kernel_size": 1, "strides": 3, "padding": "same"},
}


def images(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("size", [(7, 9), (10, 10)])
def test_as_the_layer_itself_with_its_gradients(options, size):
    layer, x = keras.layers.Conv2D(5, **options), images(3, *size, 2)
    layer(x)
    values = []
    for call in (lambda: layer(x), lambda: call_with_im2col(layer, (Rows([0], [x]),), {}, True).joined):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = call()
            loss = tf.reduce_sum(tf.sin(outputs))
        values.append([outputs, *tape.gradient(loss, [x, *(v.value for v in layer.variables)])])
    for theirs, ours in zip(*values, strict=True):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_patches_by_hand():
    layer, x = keras.layers.Conv2D(1, 2, use_bias=False), tf.reshape(tf.range(9.0), [1, 3, 3, 1])
    layer(x)
    columns = im2col(layer, x)
    np.testing.assert_array_equal(columns[0, 0], [[0, 1, 3, 4], [1, 2, 4, 5]])
    np.testing.assert_array_equal(columns[0, 1], [[3, 4, 6, 7], [4, 5, 7, 8]])
    layer.kernel.assign(np.reshape([1.0, 10.0, 100.0, 1000.0], [2, 2, 1, 1]))
    outputs = linear_outputs(layer, columns, are_columns=True)
    np.testing.assert_array_equal(np.ravel(outputs), [4310, 5421, 7643, 8754])


def test_half_precision_is_kept():
    layer, x = keras.layers.Conv2D(5, 3, dtype="mixed_bfloat16"), images(3, 7, 7, 2)
    expected = layer(x)
    outputs = call_with_im2col(layer, (Rows([0], [x]),), {}, True).joined
    assert outputs.dtype == expected.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), tf.cast(expected, tf.float32), atol=0.05)


@pytest.mark.parametrize("layer", [keras.layers.Conv2D(4, 3, dilation_rate=2), keras.layers.DepthwiseConv2D(3)])
def test_others_are_called_as_they_are(layer):
    x = images(3, 7, 7, 2)
    assert not supports_im2col(layer, Rows([0], [x]))
    np.testing.assert_array_equal(call_with_im2col(layer, (Rows([0], [x]),), {}, True).joined, layer(x))


def test_large_images_and_a_missing_activation():
    layer, x = keras.layers.Conv2D(5, 3, activation=None), images(3, 7, 7, 2)
    layer(x)
    layer.activation = None
    outputs = call_with_im2col(layer, (Rows([0], [x]),), {}, True).joined
    np.testing.assert_allclose(outputs, layer(x), rtol=1e-4, atol=1e-5)
    large = images(1, 84, 84, 4)
    assert supports_im2col(layer, Rows([0], [x]))
    layer = keras.layers.Conv2D(5, 8, strides=4)
    layer(large)
    assert not supports_im2col(layer, Rows([0], [large]))


class OwnsAnother(keras.layers.Layer):
    """A layer with a convolution that it never calls."""

    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3)

    def build(self, input_shape):
        pass

    def call(self, x):
        return 2 * x


def network(*layers, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.Sequential(list(layers))(inputs))


def test_which_networks_suit_xla():
    convolution = keras.layers.Conv2D
    assert suits_xla_on_cpu(network(keras.layers.Dense(3), shape=(4,)))
    assert suits_xla_on_cpu(network(mtq.networks.minatar_cnn(), shape=(10, 10, 4)))
    assert not suits_xla_on_cpu(network(mtq.networks.nature_cnn(), shape=(84, 84, 4)))
    assert not suits_xla_on_cpu(network(convolution(4, 3), shape=(None, None, 3)))
    assert not suits_xla_on_cpu(network(convolution(4, 3, dilation_rate=2), shape=(10, 10, 3)))
    assert not suits_xla_on_cpu(network(keras.layers.TimeDistributed(convolution(4, 3)), shape=(2, 84, 84, 3)))
    assert not suits_xla_on_cpu(network(OwnsAnother(), shape=(4,)))
    assert not suits_xla_on_cpu(network(convolution(4, 3), keras.layers.DepthwiseConv2D(3), shape=(10, 10, 3)))
