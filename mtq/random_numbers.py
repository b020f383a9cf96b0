"""Uniform random numbers that are the same with and without XLA."""

from collections.abc import Sequence

import tensorflow as tf


def uniform(random: tf.random.Generator, shape: Sequence[int]) -> tf.Tensor:
    """Numbers from 0 up to but not including 1, float32.

    TensorFlow's and XLA's own `uniform` make different floats of the same random bits; here 24 bits make one.

    Args:
        random: Where they are drawn from.
        shape: Of the result.
    """
    return _as_fraction(random.uniform_full_int(shape, tf.uint32))


def stateless_uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """The same of a seed, `[2]` int32."""
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return _as_fraction(bits)


def _as_fraction(bits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
