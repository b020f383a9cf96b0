"""Random numbers that are the same with and without XLA."""

import math
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


def stateless_uniform(shape: Sequence[int], seed: tf.Tensor | Sequence[int | tf.Tensor]) -> tf.Tensor:
    """The same as a function of a seed, two integers."""
    numbers = seed if tf.is_tensor(seed) else tf.stack([tf.cast(number, tf.int64) for number in seed])
    bits = tf.random.stateless_uniform(shape, numbers, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return _as_fraction(bits)


def stateless_normal(shape: Sequence[int], seed: tf.Tensor | Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Numbers from a normal distribution, float32, by Box and Muller's method."""
    first, second = tf.unstack(stateless_uniform([2, *shape], seed))
    return tf.sqrt(-2 * tf.math.log(1 - first)) * tf.cos(2 * math.pi * second)


def _as_fraction(bits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
