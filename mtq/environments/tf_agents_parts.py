"""The parts of tf-agents that mtq stands on, imported without the notice that `gym` prints, and specs of tasks."""

import contextlib
import warnings
from collections.abc import Iterator

import tensorflow as tf

from mtq.tasks import Task


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Imports tf-agents without its compile-time warnings, and without the notice that `gym` prints when imported."""
    try:
        from gym_notices.notices import notices
    except ModuleNotFoundError:
        notices = {}
    kept = dict(notices)
    notices.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.filterwarnings("ignore", "distutils", DeprecationWarning)
            yield
    finally:
        notices.update(kept)


try:
    with _quietly():
        from tf_agents.drivers import driver
        from tf_agents.environments import tf_environment
        from tf_agents.policies import tf_policy
        from tf_agents.replay_buffers import tf_uniform_replay_buffer
        from tf_agents.specs import tensor_spec
        from tf_agents.trajectories import policy_step
        from tf_agents.trajectories import time_step as time_steps
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"mtq's environments and replay need tf-agents, which did not load: {error}. "
        "Install it: pip install --no-deps tf-agents==0.19.0 (README.md, Installation)."
    ) from error

__all__ = [
    "action_spec",
    "driver",
    "observation_spec",
    "policy_step",
    "tensor_spec",
    "tf_environment",
    "tf_policy",
    "tf_uniform_replay_buffer",
    "time_steps",
]


def observation_spec(task: Task) -> tf.TensorSpec:
    """A task's observation, without the batch dimension."""
    return tf.TensorSpec(task.spec.observation_shape, task.spec.observation_dtype, name="observation")


def action_spec(task: Task) -> tensor_spec.BoundedTensorSpec:
    """A task's actions, `0 … num_actions − 1`, int32."""
    return tensor_spec.BoundedTensorSpec((), tf.int32, 0, task.num_actions - 1, name="action")
