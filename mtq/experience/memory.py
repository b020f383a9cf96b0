"""What is stored of a step, and how rows of a table hold it."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from mtq.tasks import Task


class Memory(NamedTuple):
    """One stored step, as the environment gave it: neither scaled nor discounted.

    It contains the next observation itself, so that a transition never spans two rows or the end of an episode.
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    is_last: Any


def memory_spec(task: Task) -> Memory:
    """The specs of one stored step of a task, without the batch dimension."""
    observation = tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype)
    number = tf.TensorSpec([], tf.float32)
    return Memory(observation, tf.TensorSpec([], tf.int32), number, number, observation, tf.TensorSpec([], tf.bool))


class Packing:
    """Converts steps to one vector per dtype and back, so that a row is written and read by one operation.

    The float32 vector starts with the reward, the discount, the action (exact below 2²⁴) and `is_last`. Both
    observations follow, flattened, in the vector of their dtype.

    Args:
        spec: The specs of one step, from `memory_spec`.
    """

    def __init__(self, spec: Memory) -> None:
        self._shape, self._dtype = spec.observation.shape, spec.observation.dtype.name
        self._size = math.prod(self._shape)
        widths = {"float32": 4}
        widths[self._dtype] = widths.get(self._dtype, 0) + 2 * self._size
        self.widths = widths

    def pack(self, memory: Memory) -> dict[str, tf.Tensor]:
        """`Memory` of `[N, …]` → `[N, width]` by dtype."""
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
        """`[…, width]` by dtype → `Memory` of `[…]`."""
        reward, discount, action, is_last = tf.unstack(packed["float32"][..., :4], axis=-1)
        first, second = tf.split(packed[self._dtype][..., -2 * self._size :], 2, axis=-1)
        shape = [*reward.shape, *self._shape]
        observation, next_observation = tf.reshape(first, shape), tf.reshape(second, shape)
        return Memory(observation, tf.cast(action, tf.int32), reward, discount, next_observation, is_last > 0)
