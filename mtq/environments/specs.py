"""The specs of a task on the interfaces."""

import tensorflow as tf

from mtq.interfaces import BoundedTensorSpec
from mtq.tasks import Task


def observation_spec(task: Task) -> tf.TensorSpec:
    """The spec of one observation of a task, without the batch dimension."""
    return tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype, name="observation")


def action_spec(task: Task) -> BoundedTensorSpec:
    """The spec of one action of a task, `0 … num_actions − 1`, int32."""
    return BoundedTensorSpec((), tf.int32, 0, task.num_actions - 1, name="action")
