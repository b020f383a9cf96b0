"""The format in which steps are stored: `Memory`, and its packing into rows of a table."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from mtq.tasks import Task


class Memory(NamedTuple):
    """One stored step, as the environment returned it: its reward is neither scaled nor clipped.

    It contains the next observation itself, so that a transition never spans two rows or the end of an episode.

    Attributes:
        observation: The observation that was acted on, in the task's own dtype.
        action: The action, int32.
        reward: The environment's own reward, float32.
        discount: The environment's own discount, float32, without γ; 0 at a true terminal.
        next_observation: The observation that the action led to; where the episode ended, its last observation.
        is_last: Whether the step was the last of its episode, bool.
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    is_last: Any


def memory_spec(task: Task) -> Memory:
    """Returns the specs of one stored step of a task, without the batch dimension."""
    observation = tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype)
    number = tf.TensorSpec([], tf.float32)
    return Memory(observation, tf.TensorSpec([], tf.int32), number, number, observation, tf.TensorSpec([], tf.bool))


class Packing:
    """Packs steps into one vector per dtype and unpacks them, so that one operation writes or reads a row.

    The float32 vector starts with the reward, the discount, the action (exact below 2²⁴) and `is_last`. The vector of
    the observations' dtype, which may be the same, ends with the observation and the next observation, flattened.

    Args:
        spec: The specs of one step, from `memory_spec`.

    Attributes:
        widths: The length of the vector of each dtype, by the name of the dtype.
    """

    def __init__(self, spec: Memory) -> None:
        self._shape, self._dtype = spec.observation.shape, spec.observation.dtype.name
        self._size = math.prod(self._shape)
        widths = {"float32": 4}
        widths[self._dtype] = widths.get(self._dtype, 0) + 2 * self._size
        self.widths = widths

    def pack(self, memory: Memory) -> dict[str, tf.Tensor]:
        """Packs a `Memory` of `[N, …]` into vectors `[N, width]`, by the name of their dtype."""
        numbers = [
            memory.reward,
            memory.discount,
            tf.cast(memory.action, tf.float32),
            tf.cast(memory.is_last, tf.float32),
        ]
        packed = {"float32": [tf.stack(numbers, axis=1)]}
        for observation in (memory.observation, memory.next_observation):
            packed.setdefault(self._dtype, []).append(tf.reshape(observation, [-1, self._size]))
        return {dtype: tf.concat(parts, axis=1) if len(parts) > 1 else parts[0] for dtype, parts in packed.items()}

    def unpack(self, packed: dict[str, tf.Tensor]) -> Memory:
        """Unpacks vectors `[…, width]`, by the name of their dtype, into a `Memory` of `[…]`."""
        reward, discount, action, is_last = tf.unstack(packed["float32"][..., :4], axis=-1)
        first, second = tf.split(packed[self._dtype][..., -2 * self._size :], 2, axis=-1)
        shape = [*reward.shape, *self._shape]
        observation, next_observation = tf.reshape(first, shape), tf.reshape(second, shape)
        return Memory(observation, tf.cast(action, tf.int32), reward, discount, next_observation, is_last > 0)
