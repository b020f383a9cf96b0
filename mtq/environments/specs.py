"""The specs of a task's observations and actions, as tf-agents' interface defines them."""

from typing import Any

import tensorflow as tf

from mtq.interfaces import BoundedTensorSpec
from mtq.tasks import Task


def observation_spec(task: Task) -> Any:
    """Returns the spec of what a policy acts on, without the batch dimension.

    It is one observation of the task or, if the task has masks of legal actions, the pair of an observation and a mask,
    as tf-agents' `observation_and_action_constraint_splitter` splits it.
    """
    observation = tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype, name="observation")
    if not task.spec.has_action_mask:
        return observation
    return observation, tf.TensorSpec([task.num_actions], tf.bool, name="action_mask")


def action_spec(task: Task) -> BoundedTensorSpec:
    """Returns the spec of one action of a task: an int32 scalar from 0 to `num_actions − 1`."""
    return BoundedTensorSpec((), tf.int32, 0, task.num_actions - 1, name="action")
