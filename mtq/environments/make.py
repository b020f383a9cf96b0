"""Which class stands for a task's environment."""

from typing import TYPE_CHECKING

from mtq.dynamics import Dynamics
from mtq.environments.copies import EnvironmentCopies
from mtq.spaces import IN_GRAPH, is_tf_agents
from mtq.tasks import Task

if TYPE_CHECKING:
    from mtq.environments.in_graph import InGraphCopies


def is_in_graph(task: Task) -> bool:
    """Whether a task's environment is made of tensors and needs no crossing into Python."""
    source = task.environment
    if isinstance(source, str):
        return source.startswith(IN_GRAPH)
    if source is None or is_tf_agents(source):
        return False
    return isinstance(task.make_environment(), Dynamics)


def make_copies(task: Task, num_copies: int, seed: int) -> "EnvironmentCopies | InGraphCopies":
    """Copies of a task's environment to be stepped from Python.

    Args:
        task: The task.
        num_copies: N.
        seed: Of the copies.

    Returns:
        An object with the `reset`, `step` and `close` of `EnvironmentCopies`.
    """
    if is_in_graph(task):
        from mtq.environments.in_graph import InGraphCopies  # needs tf-agents

        return InGraphCopies(task, num_copies, seed)
    return EnvironmentCopies(task, num_copies, seed)
