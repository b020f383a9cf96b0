"""Creates the copies of a task's environment with the class that suits it."""

from mtq.environments.copies import EnvironmentCopies, VectorEnvironment
from mtq.tasks.atari import is_atari
from mtq.tasks.task import Task


def make_copies(
    task: Task, num_copies: int, seed: int, compiled: bool = True, render: bool = False
) -> VectorEnvironment:
    """Creates copies of a task's environment that are stepped from Python.

    Args:
        task: The task.
        num_copies: The number of copies N.
        seed: The seed of the copies.
        compiled: Whether XLA compiles the step of an in-graph environment, which does not pay for a few steps.
        render: Whether the environments are made with `render_mode="rgb_array"`, if they support it.

    Returns:
        The copies.
    """
    if task.spec.in_graph:
        from mtq.environments.in_graph import InGraphCopies  # imports tf-agents

        return InGraphCopies(task, num_copies, seed, compiled)
    if is_atari(task.environment):
        from mtq.environments.atari_copies import AtariCopies

        return AtariCopies(task, num_copies, seed, render)
    return EnvironmentCopies(task, num_copies, seed, render)
