"""Evaluation of greedy and random policies over whole episodes."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import integer
from mtq.evaluation.playing import (
    MAX_STEPS,
    EpisodeReturns,
    InGraphPlayer,
    Policy,
    any_action,
    best_action,
    play,
    random_policy,
)
from mtq.experience.q_model import QFunctions, check_specs
from mtq.keras_internals import supports_jit
from mtq.learning.target_paths import TargetView
from mtq.random_numbers import Purpose, stream_seeds
from mtq.tasks.action_masks import split_observation
from mtq.tasks.task import Task, TaskSet, check_tasks

__all__ = ["MAX_STEPS", "EpisodeReturns", "Evaluator", "evaluate", "evaluate_random", "play", "task_seed"]


class Evaluator:
    """Evaluates a model's greedy policy, or a random policy, any number of times without compiling again.

    Episodes of in-graph tasks are played within the graph.

    Args:
        model: A `MultiTaskDQN`, or None if only the random policy is evaluated.
        tasks: The tasks; by default the model's own. Pass them if their environments were left out of a saved model.
        episodes: The number of episodes of each task. Each is played in its own copy of the environment.
        max_steps: The number of steps after which an unfinished episode is truncated. Greedy policies may otherwise
            play forever in environments without a time limit.

    Raises:
        ValueError: A task's environment was given as an object, which cannot be copied; or the model does not know a
            task.
    """

    def __init__(
        self, model: QFunctions | None, tasks: TaskSet | None = None, *, episodes: int = 20, max_steps: int = MAX_STEPS
    ) -> None:
        self.model, self.tasks = model, tasks_to_evaluate(model, tasks)
        self._episodes = integer("episodes", episodes)
        self._max_steps = integer("max_steps", max_steps)
        self._greedy: dict[str, Callable[[int], EpisodeReturns]] = {}
        self._random: dict[str, Callable[[int], EpisodeReturns]] = {}

    def greedy(self, seed: int = 0) -> dict[str, EpisodeReturns]:
        """Evaluates the greedy policy with the current weights of the model.

        Args:
            seed: The seed of the environments.

        Returns:
            The returns of the episodes of each task, by name.
        """
        model = with_values(self.model)
        for name, task in self.tasks.items():
            if name not in self._greedy:
                self._greedy[name] = self._greedy_player(task, model.paths[name], model.uses_xla)
        return {name: self._greedy[name](task_seed(self.tasks, name, seed)) for name in self.tasks}

    def random(self, seed: int = 0) -> dict[str, EpisodeReturns]:
        """Evaluates a uniformly random policy, for comparison.

        Args:
            seed: The seed of the environments and the actions.

        Returns:
            The returns of the episodes of each task, by name.
        """
        for name, task in self.tasks.items():
            if name not in self._random:
                self._random[name] = self._random_player(task)
        return {name: self._random[name](task_seed(self.tasks, name, seed)) for name in self.tasks}

    def _greedy_player(self, task: Task, path: Any, uses_xla: bool) -> Callable[[int], EpisodeReturns]:
        if task.spec.in_graph:
            is_view = isinstance(path, TargetView)
            compilable = uses_xla and (path.supports_jit if is_view else supports_jit(path))
            return InGraphPlayer(task, best_action(in_inference(path)), self._episodes, self._max_steps, compilable)
        policy = greedy_policy(in_inference(path))
        return lambda seed: self._played(task, policy, seed)

    def _random_player(self, task: Task) -> Callable[[int], EpisodeReturns]:
        if task.spec.in_graph:
            # Without XLA, whose programs are never freed and would take tens of MiB for a few seconds of play.
            act = any_action(task.num_actions)
            return InGraphPlayer(task, act, self._episodes, self._max_steps, jit_compile=False)
        return lambda seed: self._played(task, random_policy(task.num_actions, seed), seed)

    def _played(self, task: Task, policy: Policy, seed: int) -> EpisodeReturns:
        return play(task, policy, episodes=self._episodes, seed=seed, max_steps=self._max_steps)


def tasks_to_evaluate(model: QFunctions | None, tasks: TaskSet | None) -> TaskSet:
    """Returns the tasks that an evaluation plays, after checking that the model knows them.

    Args:
        model: The model, or None if only the random policy is evaluated.
        tasks: The tasks; None for the model's own.

    Raises:
        ValueError: The model does not know a task, or was built for other shapes; or both arguments are None.
    """
    evaluated: Any = model.tasks if tasks is None and model is not None else tasks
    check_tasks("tasks of an evaluation", evaluated)
    if model is None:
        return evaluated
    unknown = [name for name in evaluated if name not in model.paths]
    if unknown:
        raise ValueError(
            f"tasks of an evaluation must be the model's. Received: {list(evaluated)}, of which it does not know "
            f"'{unknown[0]}'. It knows {list(model.paths)}."
        )
    check_specs(evaluated, model)
    return evaluated


def with_values(model: QFunctions | None) -> QFunctions:
    """Returns the model whose greedy policy is evaluated.

    Args:
        model: The model.

    Raises:
        ValueError: There is none.
    """
    if model is None:
        raise ValueError(
            "model of the evaluation must be a MultiTaskDQN if its greedy policy is played. Received: None. Pass the "
            "model, or call random."
        )
    return model


def evaluate(
    model: QFunctions, tasks: TaskSet | None = None, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Evaluates the model's greedy policy once, in new environments. Use an `Evaluator` for repeated evaluations.

    Args:
        model: A `MultiTaskDQN`.
        tasks: The tasks; by default the model's own. Pass them if their environments were left out of a saved model.
        episodes: The number of episodes of each task. Each is played in its own copy of the environment.
        seed: The seed of the environments.
        max_steps: The number of steps after which an unfinished episode is truncated.

    Returns:
        The returns of the episodes of each task, by name.

    Raises:
        ValueError: A task's environment was given as an object, which cannot be copied; or the model does not know a
            task.
    """
    return Evaluator(model, tasks, episodes=episodes, max_steps=max_steps).greedy(seed)


def evaluate_random(
    tasks: TaskSet, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Evaluates a uniformly random policy once, for comparison.

    Args:
        tasks: The tasks.
        episodes: The number of episodes of each task. Each is played in its own copy of the environment.
        seed: The seed of the environments and the actions.
        max_steps: The number of steps after which an unfinished episode is truncated.

    Returns:
        The returns of the episodes of each task, by name.

    Raises:
        ValueError: A task's environment was given as an object, which cannot be copied.
    """
    return Evaluator(None, tasks, episodes=episodes, max_steps=max_steps).random(seed)


def in_inference(path: Any) -> Callable[[Any], Any]:
    """Returns a network in inference mode, in which layers such as `Dropout` and `RandomFlip` have no effect.

    Inference mode must be explicit: Keras's image augmentation layers augment by default.

    Args:
        path: A network `observation` → `q_values`, such as `model.paths[name]`.
    """
    return functools.partial(path, training=False)


def greedy_policy(path: Callable[[Any], Any]) -> Policy:
    """Returns the greedy policy, a function from observations `[N, …]`, or pairs with masks, to actions `[N]`.

    Args:
        path: A network `observation` → `q_values`, such as `model.paths[name]`.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def actions(observation: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return vl.greedy_actions(path(observation), mask)

    def policy(acted_on: Any) -> np.ndarray:
        observation, mask = split_observation(acted_on)
        return actions(tf.convert_to_tensor(observation), None if mask is None else tf.convert_to_tensor(mask)).numpy()

    return policy


def task_seed(tasks: TaskSet, name: str, seed: int) -> int:
    """Returns the seed of one task, so that the environments of different tasks draw different numbers.

    Args:
        tasks: The tasks.
        name: The name of the task.
        seed: The seed of the evaluation.
    """
    seed = integer("seed of an evaluation", seed, least=0)
    return stream_seeds(seed, Purpose.EVALUATION, tasks.names.index(name))[0]
