"""Playing whole episodes to see how good a policy is."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

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
from mtq.keras_internals import supports_jit
from mtq.learning.target_paths import TargetView
from mtq.random_numbers import Purpose, stream_seeds
from mtq.tasks.task import Task, TaskSet, check_tasks

__all__ = ["MAX_STEPS", "EpisodeReturns", "Evaluator", "evaluate", "evaluate_random", "play", "task_seed"]


class Evaluator:
    """Plays a model's greedy policy, or a random one, as often as it is asked to; what it compiles it keeps.

    In-graph tasks are played within the graph.

    Args:
        model: A `MultiTaskDQN`, or None where only the random policy is played.
        tasks: By default the model's own; give them where their environments are not Gymnasium ids.
        episodes: How many of each task; each has a copy of the environment to itself.
        max_steps: Where an episode is cut off that has not ended, as greedy policies may go on for ever in
            environments without a time limit.

    Raises:
        ValueError: A task's environment was given as an object, of which there are no further copies; or the model does
            not know a task.
    """

    def __init__(
        self, model: Any, tasks: TaskSet | None = None, *, episodes: int = 20, max_steps: int = MAX_STEPS
    ) -> None:
        self.tasks = model.tasks if tasks is None else tasks
        check_tasks("tasks to evaluate", self.tasks)
        unknown = [name for name in self.tasks if model is not None and name not in model.paths]
        if unknown:
            raise ValueError(
                f"The tasks to evaluate must be the model's. Received: {list(self.tasks)}, of which it does not know "
                f"'{unknown[0]}'. It knows {list(model.paths)}."
            )
        self.model, self._episodes = model, integer("episodes", episodes)
        self._max_steps = integer("max_steps", max_steps)
        self._greedy: dict[str, Callable[[int], EpisodeReturns]] = {}
        self._random: dict[str, Callable[[int], EpisodeReturns]] = {}

    def greedy(self, seed: int = 0) -> dict[str, EpisodeReturns]:
        """Plays the model's best actions, with its weights of now.

        Args:
            seed: Of the environments.
        """
        for name, task in self.tasks.items():
            if name not in self._greedy:
                self._greedy[name] = self._greedy_player(task, self.model.paths[name])
        return {name: self._greedy[name](task_seed(self.tasks, name, seed)) for name in self.tasks}

    def random(self, seed: int = 0) -> dict[str, EpisodeReturns]:
        """Plays uniformly random actions, for comparison.

        Args:
            seed: Of the environments and the actions.
        """
        for name, task in self.tasks.items():
            if name not in self._random:
                self._random[name] = self._random_player(task)
        return {name: self._random[name](task_seed(self.tasks, name, seed)) for name in self.tasks}

    def _greedy_player(self, task: Task, path: Any) -> Callable[[int], EpisodeReturns]:
        if task.spec.in_graph:
            is_view = isinstance(path, TargetView)
            compilable = self.model.uses_xla and (path.supports_jit if is_view else supports_jit(path))
            return InGraphPlayer(task, best_action(in_inference(path)), self._episodes, self._max_steps, compilable)
        policy = greedy_policy(in_inference(path))
        return lambda seed: self._played(task, policy, seed)

    def _random_player(self, task: Task) -> Callable[[int], EpisodeReturns]:
        if task.spec.in_graph:
            # Not by XLA, for what that compiles stays in memory for good, tens of MiB for play of a few seconds.
            act = any_action(task.num_actions)
            return InGraphPlayer(task, act, self._episodes, self._max_steps, jit_compile=False)
        return lambda seed: self._played(task, random_policy(task.num_actions, seed), seed)

    def _played(self, task: Task, policy: Policy, seed: int) -> EpisodeReturns:
        return play(task, policy, episodes=self._episodes, seed=seed, max_steps=self._max_steps)


def evaluate(
    model: Any, tasks: TaskSet | None = None, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Plays the model's greedy policy once in environments of its own; an `Evaluator` does it again and again.

    Args:
        model: A `MultiTaskDQN`.
        tasks: By default the model's own; give them where their environments are not Gymnasium ids.
        episodes: How many of each task; each has a copy of the environment to itself.
        seed: Of the environments.
        max_steps: Where an episode is cut off that has not ended.

    Returns:
        The returns of each task.

    Raises:
        ValueError: As `Evaluator`.
    """
    return Evaluator(model, tasks, episodes=episodes, max_steps=max_steps).greedy(seed)


def evaluate_random(
    tasks: TaskSet, *, episodes: int = 20, seed: int = 0, max_steps: int = MAX_STEPS
) -> dict[str, EpisodeReturns]:
    """Plays uniformly random actions once, for comparison; arguments and result as of `evaluate`."""
    return Evaluator(None, tasks, episodes=episodes, max_steps=max_steps).random(seed)


def in_inference(path: Any) -> Callable[[Any], Any]:
    """A network in inference mode, in which layers such as `Dropout` and `RandomFlip` pass their inputs on.

    It has to be said: Keras's image augmentation layers augment unless they are told that it is not for training.

    Args:
        path: `observation` → `q_values`, such as `model.paths[name]`.
    """
    return functools.partial(path, training=False)


def greedy_policy(path: Callable[[Any], Any]) -> Policy:
    """The policy that takes the best action: observations `[N, …]` → actions `[N]`.

    Args:
        path: `observation` → `q_values`, such as `model.paths[name]`.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def actions(observation: tf.Tensor) -> tf.Tensor:
        return tf.argmax(path(observation), axis=-1, output_type=tf.int32)

    return lambda observation: actions(tf.convert_to_tensor(observation)).numpy()


def task_seed(tasks: TaskSet, name: str, seed: int) -> int:
    """A seed for one task, so that no two tasks' environments draw the same numbers."""
    seed = integer("seed of an evaluation", seed, least=0)
    return stream_seeds(seed, Purpose.EVALUATION, tasks.names.index(name))[0]
