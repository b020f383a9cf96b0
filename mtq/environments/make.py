"""Creates the copies of a task's environment with the class that suits it."""

from typing import TYPE_CHECKING

from mtq.environments.copies import EnvironmentCopies
from mtq.tasks.task import Task

if TYPE_CHECKING:
    from mtq.environments.in_graph import InGraphCopies


def make_copies(task: Task, num_copies: int, seed: int, compiled: bool = True) -> "EnvironmentCopies | InGraphCopies":
    """Creates copies of a task's environment that are stepped from Python.

    Args:
        task: The task.
        num_copies: The number of copies N.
        seed: The seed of the copies.
        compiled: Whether XLA compiles the step of an in-graph environment, which does not pay for a few steps.

    Returns:
        An object with the methods `reset`, `step` and `close` of `EnvironmentCopies`.
    """
    if task.spec.in_graph:
        from mtq.environments.in_graph import InGraphCopies  # imports tf-agents

        return InGraphCopies(task, num_copies, seed, compiled)
    return EnvironmentCopies(task, num_copies, seed)
