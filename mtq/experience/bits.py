"""Binary images as bits: eight pixels in a byte."""

import tensorflow as tf

_PLACES = tuple(range(8))  # of a byte's bits, the lowest first


def num_bytes(size: int) -> int:
    """Returns the number of bytes that hold a number of bits.

    Args:
        size: The number of bits.
    """
    return -(-size // 8)


def pack_bits(bits: tf.Tensor) -> tf.Tensor:
    """Packs bits into bytes.

    Args:
        bits: The bits, `[…, size]` uint8 of 0 and 1.

    Returns:
        The bytes, `[…, ⌈size / 8⌉]` uint8, as `numpy.packbits(bits, axis=-1, bitorder="little")` returns them.
    """
    size = bits.shape[-1]
    missing = 8 * num_bytes(size) - size
    padded = tf.pad(bits, [[0, 0]] * (bits.shape.rank - 1) + [[0, missing]]) if missing else bits
    by_byte = tf.reshape(padded, [*bits.shape[:-1], -1, 8])
    values = tf.cast(tf.minimum(by_byte, 1), tf.int32) * [
        1 << place for place in _PLACES
    ]  # sums of bytes are slow without XLA
    return tf.cast(tf.reduce_sum(values, axis=-1), tf.uint8)


def unpack_bits(packed: tf.Tensor, size: int) -> tf.Tensor:
    """Unpacks the bits that `pack_bits` packed.

    Args:
        packed: The bytes, `[…, ⌈size / 8⌉]` uint8.
        size: The number of bits.

    Returns:
        The bits, `[…, size]` uint8 of 0 and 1.
    """
    shifted = tf.bitwise.right_shift(packed[..., None], tf.constant(_PLACES, tf.uint8))
    bits = tf.bitwise.bitwise_and(shifted, tf.constant(1, tf.uint8))
    return tf.reshape(bits, [*packed.shape[:-1], -1])[..., :size]
