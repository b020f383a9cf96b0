"""The columns of a replay for fields that only some tasks' steps have: masks of legal actions, and running returns."""

import math

import numpy as np
import tensorflow as tf

from mtq.experience.memory import Memory
from mtq.named_tuples import field_of

_BITS = 24  # of a float32 that holds integers exactly
_MASKS = ("action_mask", "next_action_mask")


class FurtherColumns:
    """Packs the further fields of steps into columns of float32, and unpacks them. A mask takes a bit per action.

    Args:
        spec: The spec of one step, with the further fields.

    Attributes:
        number: The number of columns.
    """

    def __init__(self, spec: Memory) -> None:
        self._num_actions = {name: field_of(spec, name).shape[0] for name in _MASKS if name in spec._fields}
        self._has_returns = "running_return" in spec._fields
        self.number = self._has_returns + sum(math.ceil(number / _BITS) for number in self._num_actions.values())

    def pack(self, steps: Memory) -> tf.Tensor | None:
        """Packs the fields of steps.

        Args:
            steps: The steps, `[N, …]`.

        Returns:
            The columns, `[N, number]` float32; None if there are none.
        """
        columns = [_packed(field_of(steps, name)) for name in self._num_actions]
        if self._has_returns:
            columns.append(field_of(steps, "running_return")[:, None])
        return tf.concat(columns, axis=-1) if columns else None

    def unpack(self, columns: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Unpacks the fields of steps.

        Args:
            columns: The columns, `[…, number]` float32; None if there are none.

        Returns:
            The fields `[…]` and `[…, num_actions]` by name.
        """
        fields: dict[str, tf.Tensor] = {}
        start = 0
        if columns is None:
            return fields
        for name, number in self._num_actions.items():
            stop = start + math.ceil(number / _BITS)
            fields[name], start = _unpacked(columns[..., start:stop], number), stop
        if self._has_returns:
            fields["running_return"] = columns[..., start]
        return fields


def _packed(mask: tf.Tensor) -> tf.Tensor:
    """Packs masks `[N, A]` into numbers of 24 bits, `[N, ceil(A / 24)]` float32."""
    number = mask.shape[-1]
    padded = tf.pad(tf.cast(mask, tf.float32), [[0, 0], [0, -number % _BITS]])
    words = tf.reshape(padded, [mask.shape[0], -1, _BITS])
    return tf.reduce_sum(words * np.float32(2.0) ** np.arange(_BITS, dtype=np.float32), axis=-1)


def _unpacked(words: tf.Tensor, number: int) -> tf.Tensor:
    """Unpacks masks `[…, A]` bool from numbers of 24 bits."""
    bits = tf.bitwise.right_shift(tf.cast(words, tf.int32)[..., None], np.arange(_BITS, dtype=np.int32))
    flat = tf.reshape(bits % 2 > 0, [*words.shape[:-1], words.shape[-1] * _BITS])
    return flat[..., :number]
