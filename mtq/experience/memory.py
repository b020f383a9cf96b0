"""The format in which steps are passed to replays, `Memory`, and the numbers that a replay stores of each step."""

from typing import Any, NamedTuple

import tensorflow as tf

from mtq.named_tuples import extended
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


OPTIONAL_FIELDS = ("action_mask", "next_action_mask", "running_return")
"""The fields that the steps of some tasks have in addition to those of a `Memory`: see those of `Transition`."""


def with_fields(memory: Any, **fields: Any) -> Any:
    """Returns steps with further fields.

    Args:
        memory: The steps, a `Memory`.
        **fields: The fields by name, those of `OPTIONAL_FIELDS`.

    Returns:
        A named tuple of the fields of `Memory` and the others.
    """
    return extended(Memory, OPTIONAL_FIELDS, memory, **fields)


def memory_spec(task: Task, *, has_running_returns: bool = False) -> Any:
    """Returns the specs of one step of a task, without the batch dimension.

    Args:
        task: The task.
        has_running_returns: Whether steps have their running returns.
    """
    observation = tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype)
    number = tf.TensorSpec([], tf.float32)
    spec = Memory(observation, tf.TensorSpec([], tf.int32), number, number, observation, tf.TensorSpec([], tf.bool))
    if task.spec.has_action_mask:
        mask = tf.TensorSpec([task.num_actions], tf.bool)
        spec = with_fields(spec, action_mask=mask, next_action_mask=mask)
    return with_fields(spec, running_return=number) if has_running_returns else spec


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
        further: The columns of `FurtherColumns`, `[…, C]` float32; None if there are none.
    """

    action: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    is_last: tf.Tensor
    place: tf.Tensor
    age: tf.Tensor
    further: tf.Tensor | None = None

    def pack(self) -> tf.Tensor:
        """Returns the rows, `[…, 6 + C]` float32, which is exact for actions and places below 2²⁴."""
        numbers = tf.stack([tf.cast(part, tf.float32) for part in self[:NUM_COLUMNS]], axis=-1)
        return numbers if self.further is None else tf.concat([numbers, self.further], axis=-1)

    @classmethod
    def unpack(cls, rows: tf.Tensor) -> "Numbers":
        """Returns the numbers of rows, `[…, 6 + C]`."""
        further = rows[..., NUM_COLUMNS:] if rows.shape[-1] > NUM_COLUMNS else None
        action, reward, discount, is_last, place, age = tf.unstack(rows[..., :NUM_COLUMNS], axis=-1)
        place, age = tf.cast(place, tf.int64), tf.cast(age, tf.int64)
        return cls(tf.cast(action, tf.int32), reward, discount, is_last > 0, place, age, further)


NUM_COLUMNS = 6
"""The number of columns of the numbers that the steps of all tasks have."""
