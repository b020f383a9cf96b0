"""Independent random streams of one seed, and random numbers that are the same with and without XLA."""

import enum
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class Purpose(enum.IntEnum):
    """The purposes of the random streams of one seed. Streams of different purposes are independent."""

    EXPERIENCE = 0
    EVALUATION = 1
    STUDY = 2


def stream_seeds(seed: int, purpose: Purpose, *key: int, count: int = 1) -> list[int]:
    """Derives the seeds of independent random streams.

    Args:
        seed: The seed of the run, at least 0.
        purpose: The purpose of the streams.
        key: The integers that distinguish streams of the same purpose, such as the indices of the task and the replica.
        count: The number of seeds to derive.

    Returns:
        The seeds, 64-bit unsigned integers.

    Reference:
        O'Neill, "Developing a seed_seq Alternative", 2015, as in `numpy.random.SeedSequence`.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, *key))
    return sequence.generate_state(count, np.uint64).tolist()


def make_generator(seed: int) -> tf.random.Generator:
    """Creates a Philox generator whose key is the seed, so that generators with different seeds are independent.

    `tf.random.Generator.from_seed` puts the seed into the counter and leaves the key at 0, so that its generators are
    overlapping windows of one sequence.

    Args:
        seed: The seed, of which the lowest 64 bits are used.

    Returns:
        The generator.

    Reference:
        Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """
    return tf.random.Generator.from_state(_philox_state(seed), "philox")


def reseed(generator: tf.random.Generator, seed: int) -> None:
    """Resets a generator to the state in which `make_generator(seed)` returns one.

    Args:
        generator: A generator that `make_generator` returned.
        seed: The seed, of which the lowest 64 bits are used.
    """
    generator.reset(_philox_state(seed))


def seed_words(seed: int) -> np.ndarray:
    """Splits a 64-bit seed into the two numbers that TensorFlow's stateless functions take.

    Args:
        seed: The seed, from 0 to 2⁶⁴ − 1.

    Returns:
        The upper and the lower 32 bits of the seed, `[2]` int64.
    """
    return np.array([seed >> 32, seed & 0xFFFFFFFF], np.int64)


def fold_in(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Derives the seed of a numbered substream.

    With an int32 number, `tf.random.experimental.stateless_fold_in` keeps only 32 bits of the seed; this function
    keeps 64.

    Args:
        seed: The seed of the whole stream, `[2]` int64.
        number: The number of the substream, such as the index of a step; an integer scalar.

    Returns:
        The seed of the substream, `[2]` int64.
    """
    bits = tf.random.stateless_uniform([], seed, minval=None, maxval=None, dtype=tf.int64, alg="philox")
    return tf.stack([bits, tf.cast(number, tf.int64)])


def _philox_state(seed: int) -> np.ndarray:
    """Returns the initial state of a Philox generator: the counter (128 bits) and the key (64 bits), `[3]` int64."""
    return np.array([0, 0, seed % 2**64], np.uint64).view(np.int64)


def uniform(random: tf.random.Generator, shape: Sequence[int]) -> tf.Tensor:
    """Draws uniform random numbers from `[0, 1)`.

    TensorFlow's and XLA's own `uniform` convert the same random bits to different floats. This function converts 24
    bits to each float, with the same result in both.

    Args:
        random: The generator to draw from.
        shape: The shape of the result.

    Returns:
        The random numbers, float32, of the given shape.
    """
    return _as_fraction(random.uniform_full_int(shape, tf.uint32))


def stateless_uniform(shape: Sequence[int], seed: tf.Tensor | Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Returns uniform random numbers from `[0, 1)` that are a function of a seed, the same with and without XLA.

    Args:
        shape: The shape of the result.
        seed: The seed, `[2]` int64 or a sequence of two integers.

    Returns:
        The random numbers, float32, of the given shape.
    """
    numbers = seed if tf.is_tensor(seed) else tf.stack([tf.cast(number, tf.int64) for number in seed])
    bits = tf.random.stateless_uniform(shape, numbers, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    return _as_fraction(bits)


def stateless_normal(shape: Sequence[int], seed: tf.Tensor | Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Returns standard normal random numbers that are a function of a seed, by the Box–Muller transform.

    Args:
        shape: The shape of the result.
        seed: The seed, `[2]` int64 or a sequence of two integers.

    Returns:
        The random numbers, float32, of the given shape.
    """
    first, second = tf.unstack(stateless_uniform([2, *shape], seed))
    return tf.sqrt(-2 * tf.math.log(1 - first)) * tf.cos(2 * math.pi * second)


def _as_fraction(bits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
