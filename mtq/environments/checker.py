"""Checks a task's environment before training."""

import numpy as np

from mtq.checks import integer
from mtq.environments.copies import Step
from mtq.environments.make import make_copies
from mtq.tasks.action_masks import split_observation
from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.task import Task

_STEPS, _STEPS_IN_GRAPH = 20, 3  # in-graph steps are slow when they run one by one


def check_task(task: Task, seed: int = 0) -> None:
    """Checks a task's environment by taking a few random steps in a new copy of it.

    Args:
        task: The task.
        seed: The seed of the actions and of the environment, at least 0.

    Raises:
        ValueError: The environment returns observations of another shape than it declares, numbers that are not
            finite, or values that do not follow Gymnasium's interface. The message names the task and the remedy.
        BrokenEnvironmentError: The environment raised an exception.

    Example:
        >>> import mtq
        >>> mtq.environments.check_task(mtq.Task("cart_pole", "CartPole-v1"))
    """
    if not isinstance(task, Task):
        raise ValueError(f"task must be an mtq.Task. Received: {task!r}. Create one: mtq.Task(name, environment).")
    seed = integer("seed", seed, least=0)
    copies = make_copies(task, 1, seed, compiled=False)
    random = np.random.default_rng(seed)
    legal = split_observation(copies.reset())[1]
    for _ in range(_STEPS_IN_GRAPH if task.spec.in_graph else _STEPS):
        choices = np.arange(task.num_actions) if legal is None else np.flatnonzero(legal[0])
        step = copies.step(choices[random.integers(len(choices), size=1)])
        legal = split_observation(step.observation)[1]
        if task.spec.in_graph:  # environments in Python are checked at every step anyway
            _check_step(task, step)
    if not is_tf_agents(task.environment):
        copies.close()


def _check_step(task: Task, step: Step) -> None:
    next_observation, _ = split_observation(step.next_observation)
    received = next_observation.shape[1:]
    if received != task.spec.observation_shape:
        raise ValueError(
            f"The dynamics of task '{task.name}' must return observations of their observation_shape, "
            f"{task.spec.observation_shape}. Received: {received}. Fix the observation_shape, or the observations that "
            "observe returns."
        )
    for role, values in (("observation", next_observation), ("reward", step.reward)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"The dynamics of task '{task.name}' must return finite numbers. Received: {role}s {values.tolist()}. "
                "Fix their step, or end the episode before the state overflows."
            )
