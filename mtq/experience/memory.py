"""The format in which steps are passed to replays, `Memory`, and the numbers that a replay stores of each step."""

from typing import Any, NamedTuple

import tensorflow as tf

from mtq.tasks import Task


class Memory(NamedTuple):
    """One step, as the environment returned it: its reward is neither scaled nor clipped.

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
    """Returns the specs of one step of a task, without the batch dimension."""
    observation = tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype)
    number = tf.TensorSpec([], tf.float32)
    return Memory(observation, tf.TensorSpec([], tf.int32), number, number, observation, tf.TensorSpec([], tf.bool))


class Numbers(NamedTuple):
    """What a replay stores of a step beside the observation.

    Attributes:
        action: The action, int32.
        reward: The environment's own reward, float32.
        discount: The environment's own discount, float32.
        is_last: Whether the step was the last of its episode, bool.
        place: The place of the observation's newest frame in the copy's ring of frames, int64. The next observation's
            newest frame is at the next place.
        age: The number of earlier frames of the same episode in the stack of frames that was acted on, int64.
    """

    action: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    is_last: tf.Tensor
    place: tf.Tensor
    age: tf.Tensor

    def pack(self) -> tf.Tensor:
        """Returns the rows, `[…, 6]` float32, which is exact for actions and places below 2²⁴."""
        return tf.stack([tf.cast(part, tf.float32) for part in self], axis=-1)

    @classmethod
    def unpack(cls, rows: tf.Tensor) -> "Numbers":
        """Returns the numbers of rows, `[…, 6]`."""
        action, reward, discount, is_last, place, age = tf.unstack(rows, axis=-1)
        place, age = tf.cast(place, tf.int64), tf.cast(age, tf.int64)
        return cls(tf.cast(action, tf.int32), reward, discount, is_last > 0, place, age)
