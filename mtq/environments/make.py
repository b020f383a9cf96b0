"""Which class stands for a task's environment."""

from typing import TYPE_CHECKING

from mtq.environments.copies import EnvironmentCopies
from mtq.tasks.task import Task

if TYPE_CHECKING:
    from mtq.environments.in_graph import InGraphCopies


def make_copies(task: Task, num_copies: int, seed: int, compiled: bool = True) -> "EnvironmentCopies | InGraphCopies":
    """Copies of a task's environment to be stepped from Python.

    Args:
        task: The task.
        num_copies: N.
        seed: Of the copies.
        compiled: Whether an in-graph step is compiled; not worth it for a few steps.

    Returns:
        An object with the `reset`, `step` and `close` of `EnvironmentCopies`.
    """
    if task.spec.in_graph:
        from mtq.environments.in_graph import InGraphCopies  # needs tf-agents

        return InGraphCopies(task, num_copies, seed, compiled)
    return EnvironmentCopies(task, num_copies, seed)
