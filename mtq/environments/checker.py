"""Whether a task's environment can be learnt from, found out before training."""

import numpy as np

from mtq.environments.make import make_copies
from mtq.spaces import is_tf_agents
from mtq.tasks import Task

_STEPS = 20


def check_task(task: Task, seed: int = 0) -> None:
    """Plays a few random steps in a fresh copy of a task's environment.

    Args:
        task: The task.
        seed: Of the actions and the environment.

    Raises:
        ValueError: The environment returns observations of another shape than it announces, or numbers that are not
            finite; the message names the task and the remedy.

    Example:
        >>> import mtq
        >>> mtq.environments.check_task(mtq.Task("cart_pole", "CartPole-v1"))
    """
    copies = make_copies(task, 1, seed)
    random = np.random.default_rng(seed)
    copies.reset()
    for _ in range(_STEPS):
        copies.step(random.integers(task.num_actions, size=1))
    if not is_tf_agents(task.environment):
        copies.close()
