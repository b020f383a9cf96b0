"""The specs of a task's observations and actions, as tf-agents' interface defines them."""

import tensorflow as tf

from mtq.interfaces import BoundedTensorSpec
from mtq.tasks import Task


def observation_spec(task: Task) -> tf.TensorSpec:
    """Returns the spec of one observation of a task, without the batch dimension."""
    return tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype, name="observation")


def action_spec(task: Task) -> BoundedTensorSpec:
    """Returns the spec of one action of a task: an int32 scalar from 0 to `num_actions − 1`."""
    return BoundedTensorSpec((), tf.int32, 0, task.num_actions - 1, name="action")
