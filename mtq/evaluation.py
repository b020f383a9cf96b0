"""Playing whole episodes to see how good a policy is."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mtq.environments.make import make_copies
from mtq.spaces import is_tf_agents
from mtq.tasks import Task, TaskSet

Policy = Callable[[np.ndarray], np.ndarray]
MAX_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class EpisodeReturns:
    """The undiscounted, unscaled returns of some episodes.

    Attributes:
        returns: `[episodes]`.
        lengths: In steps, `[episodes]`.
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """Of the returns."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """The sample standard deviation of the returns; 0 for a single one."""
        return float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0


def evaluate(
    model: Any, tasks: TaskSet | None = None, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Plays the model's greedy policy in environments of its own.

    Args:
        model: A `MultiTaskDQN`.
        tasks: By default the model's own; give them where their environments are not Gymnasium ids.
        episodes: How many of each task; each has a copy of the environment and a seed to itself.
        seed: Of the environments.
        max_steps: Where an episode is cut off that has not ended, as greedy policies may go on for ever in
            environments without a time limit.

    Returns:
        The returns of each task.

    Raises:
        ValueError: A task's environment was given as an object, of which there are no further copies; or the model does
            not know a task.
    """
    tasks = model.tasks if tasks is None else tasks
    unknown = [name for name in tasks if name not in model.paths]
    if unknown:
        raise ValueError(
            f"The tasks to evaluate must be the model's. Received: {list(tasks)}, of which it does not know "
            f"'{unknown[0]}'. It knows {list(model.paths)}."
        )
    return {
        name: play(
            task,
            greedy_policy(model.paths[name]),
            episodes=episodes,
            seed=task_seed(tasks, name, seed),
            max_steps=max_steps,
        )
        for name, task in tasks.items()
    }


def evaluate_random(
    tasks: TaskSet, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Plays uniformly random actions, for comparison; arguments and result as of `evaluate`."""
    results = {}
    for name, task in tasks.items():
        task_seed_ = task_seed(tasks, name, seed)
        policy = _random_policy(task.num_actions, task_seed_)
        results[name] = play(task, policy, episodes=episodes, seed=task_seed_, max_steps=max_steps)
    return results


def greedy_policy(path: Callable[[Any], Any]) -> Policy:
    """The policy that takes the best action: observations `[N, …]` → actions `[N]`.

    Args:
        path: `observation` → `q_values`, such as `model.paths[name]`.
    """

    @tf.function(reduce_retracing=True)
    def actions(observation: tf.Tensor) -> tf.Tensor:
        return tf.argmax(path(observation), axis=-1)

    return lambda observation: actions(tf.convert_to_tensor(observation)).numpy()


def play(task: Task, policy: Policy, *, episodes: int, seed: int, max_steps: int = MAX_STEPS) -> EpisodeReturns:
    """Plays whole episodes, all at once, each in a copy of its own.

    Args:
        task: The task.
        policy: Observations `[episodes, …]` → actions `[episodes]`.
        episodes: How many, from 1.
        seed: Of the environments.
        max_steps: Where an episode is cut off that has not ended; it counts with what it has until there.

    Raises:
        ValueError: There are no episodes to play, or the environment was given as an object.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be 1 or more. Received: {episodes!r}.")
    if is_tf_agents(task.environment):
        raise ValueError(
            f"Task '{task.name}' cannot be evaluated in environments of its own. Received: {task.environment!r}, an "
            "object, of which there is one copy. Give the task a callable that makes one."
        )
    copies = make_copies(task, episodes, seed)
    observation = copies.reset()
    returns, lengths, open_ = np.zeros(episodes), np.zeros(episodes, np.int64), np.ones(episodes, np.bool_)
    while open_.any() and lengths.max() < max_steps:
        step = copies.step(policy(observation), only=open_)
        returns += np.where(open_, step.reward, 0.0)
        lengths += open_
        open_ &= ~step.is_last
        observation = step.observation
    copies.close()
    return EpisodeReturns(returns, lengths)


def task_seed(tasks: TaskSet, name: str, seed: int) -> int:
    """A seed for one task, so that no two tasks' environments draw the same numbers."""
    return int(np.random.SeedSequence([seed, tasks.names.index(name)]).generate_state(1)[0])


def _random_policy(num_actions: int, seed: int) -> Policy:
    random = np.random.default_rng(seed)
    return lambda observation: random.integers(num_actions, size=len(observation))
