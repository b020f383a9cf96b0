"""Evaluation over a fixed number of steps: mean discounted returns, as published multi-task studies report them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mtq.checks import integer
from mtq.dynamics.checked import CheckedDynamics
from mtq.environments.make import make_copies
from mtq.environments.masks import no_legal_action
from mtq.evaluation.evaluator import greedy_policy, in_inference, task_seed, tasks_to_evaluate, with_values
from mtq.evaluation.playing import (
    Act,
    any_action,
    best_action,
    check_playable,
    is_without_action,
    not_finite,
    random_policy,
)
from mtq.experience.q_model import QFunctions
from mtq.random_numbers import fold_in, seed_words, stateless_uniform
from mtq.tasks.task import Task, TaskSet

Acts = dict[str, Act]


class StepEvaluator:
    """Evaluates policies over a fixed number of steps of each task, episode after episode.

    A task's score is the mean discounted return of the episodes that ended within these steps, in a terminal state or
    at a time limit. The last episode does not count if it is unfinished; if no episode finished, the score is 0.
    In-graph tasks are played in one loop, which is compiled once.

    Args:
        model: A `MultiTaskDQN`, or None if only the random policy is evaluated.
        tasks: The tasks; by default the model's own.
        steps: The number of steps of each task, at least 1.

    Raises:
        ValueError: `steps` is below 1, or a task's environment was given as an object, which cannot be copied.

    Reference:
        D'Eramo et al., "Sharing Knowledge in Multi-Task Deep Reinforcement Learning", ICLR 2020, section 5.
    """

    def __init__(self, model: QFunctions | None, tasks: TaskSet | None = None, *, steps: int = 2_000) -> None:
        self.model, self.tasks = model, tasks_to_evaluate(model, tasks)
        steps = integer("steps of StepEvaluator", steps)
        for task in self.tasks.values():
            check_playable(task, episodes=1)
        self._steps = steps
        self._in_graph = {name: task for name, task in self.tasks.items() if task.spec.in_graph}
        self._play_greedily: Any = None
        self._play_randomly: dict[int, Any] = {}
        self._policies: dict[str, Any] = {}

    def greedy(self, seed: int = 0) -> dict[str, float]:
        """Evaluates the greedy policy with the current weights of the model.

        Args:
            seed: The seed of the environments.

        Returns:
            The mean discounted return of each task, by name.
        """
        model = with_values(self.model)
        if self._play_greedily is None:
            acts = {name: best_action(in_inference(model.paths[name])) for name in self._in_graph}
            play = lambda seeds: _play(self._in_graph, acts, self._steps, seeds)  # noqa: E731
            self._play_greedily = tf.function(play, autograph=False, jit_compile=model.uses_xla or None)
        scores = self._played_in_graph(self._play_greedily, seed)
        for name in self.tasks:
            if name not in scores:
                policy = self._policies.setdefault(name, greedy_policy(in_inference(model.paths[name])))
                scores[name] = self._played(name, policy, seed)
        return {name: scores[name] for name in self.tasks}

    def random(self, seed: int = 0, times: int = 1) -> dict[str, float]:
        """Evaluates a uniformly random policy, for comparison.

        Args:
            seed: The seed of the environments and the actions.
            times: The number of evaluations of each task, at least 1; those of in-graph tasks run in parallel.

        Returns:
            The mean discounted return of each task over all evaluations, by name.

        Raises:
            ValueError: `times` is below 1.
        """
        times = integer("times of StepEvaluator.random", times)
        if times not in self._play_randomly:
            acts = {name: any_action(task.num_actions) for name, task in self._in_graph.items()}
            play = lambda seeds: _play(self._in_graph, acts, self._steps, seeds, times)  # noqa: E731
            # Without XLA, whose programs are never freed and would take some 50 MiB for a few seconds of play.
            self._play_randomly[times] = tf.function(play, autograph=False)
        scores = self._played_in_graph(self._play_randomly[times], seed)
        for name in self.tasks:
            if name not in scores:
                scores[name] = float(np.mean([self._played_randomly(name, seed + time) for time in range(times)]))
        return {name: scores[name] for name in self.tasks}

    def _played_in_graph(self, play: Callable[[tf.Tensor], Any], seed: int) -> dict[str, float]:
        if not self._in_graph:
            return {}
        seeds = [task_seed(self.tasks, name, seed) for name in self._in_graph]
        of_copies, stuck = play(tf.constant([seed_words(env_seed) for env_seed in seeds]))
        scores = of_copies.numpy().mean(axis=1)
        for name, is_stuck in stuck.items():
            if bool(is_stuck):
                raise no_legal_action(name)
        for name, score in zip(self._in_graph, scores, strict=True):
            if not np.isfinite(score):
                raise not_finite(name)
        return dict(zip(self._in_graph, scores.tolist(), strict=True))

    def _played_randomly(self, name: str, seed: int) -> float:
        draws = random_policy(self.tasks[name].num_actions, task_seed(self.tasks, name, seed))
        return self._played(name, draws, seed)

    def _played(self, name: str, policy: Any, seed: int) -> float:
        task = self.tasks[name]
        copies = make_copies(task, 1, task_seed(self.tasks, name, seed))
        observation, discounted, factor, finished = copies.reset(), 0.0, 1.0, []
        for _ in range(self._steps):
            step = copies.step(policy(observation))
            discounted, factor = discounted + factor * float(step.reward[0]), factor * task.discount
            if step.is_last[0]:
                finished.append(discounted)
                discounted, factor = 0.0, 1.0
            observation = step.observation
        copies.close()
        return float(np.mean(finished)) if finished else 0.0


class _Episode(NamedTuple):
    """The unfinished episode of each of N copies of a task, and the sums over the episodes before it.

    Attributes:
        state: The state of the environment, `[N, S]`.
        length: The number of steps so far, `[N]`.
        factor: The discount factor of the next reward, `[N]`.
        discounted: The discounted return so far, `[N]`.
        total: The sum of the discounted returns of the finished episodes, `[N]`.
        finished: The number of finished episodes, `[N]`.
        is_stuck: Whether there was no legal action in a state, a bool scalar; empty if the task has no masks.
    """

    state: tf.Tensor
    length: tf.Tensor
    factor: tf.Tensor
    discounted: tf.Tensor
    total: tf.Tensor
    finished: tf.Tensor
    is_stuck: Any = ()


def _play(
    tasks: dict[str, Task], acts: Acts, steps: int, seeds: tf.Tensor, copies: int = 1
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Plays the copies of each task.

    Args:
        tasks: The tasks.
        acts: The functions that select actions, by task.
        steps: The number of steps of each copy.
        seeds: The seeds of the tasks, `[T, 2]`.
        copies: The number of copies N.

    Returns:
        The mean discounted return of each copy of each task, `[T, N]`; and whether there was no legal action in a
        state, for the tasks with masks.
    """
    games = [_Game(task, acts[name], copies, seeds[number]) for number, (name, task) in enumerate(tasks.items())]

    def joint_step(done: tf.Tensor, episodes: list[_Episode]) -> tuple[tf.Tensor, list[_Episode]]:
        return done + 1, [game.step(done, episode) for game, episode in zip(games, episodes, strict=True)]

    start = [game.begin() for game in games]
    _, end = tf.while_loop(lambda done, _: done < steps, joint_step, [tf.constant(0), start])
    scores = tf.stack([tf.math.divide_no_nan(episode.total, episode.finished) for episode in end])
    masked = [name for name, task in tasks.items() if task.spec.has_action_mask]
    return scores, {name: end[list(tasks).index(name)].is_stuck for name in masked}


class _Game:
    """One task that is played in N copies within a graph.

    Args:
        task: The task.
        act: The function that selects actions.
        copies: The number of copies, N.
        seed: The seed of all random numbers, `[2]`.
    """

    def __init__(self, task: Task, act: Act, copies: int, seed: tf.Tensor) -> None:
        self._act, self._copies, self._seed, self._discount = act, copies, seed, task.discount
        self._has_masks = task.spec.has_action_mask
        self._env = CheckedDynamics(task.name, task.make_environment(), task.frame_stack, self._has_masks)

    def begin(self) -> _Episode:
        """Begins an episode in every copy."""
        random = stateless_uniform([self._copies, self._env.num_random], self._seed)
        zero = tf.zeros([self._copies])
        state, length = self._env.initial_state(random), tf.zeros([self._copies], tf.int32)
        is_stuck = tf.constant(False) if self._has_masks else ()
        return _Episode(state, length, zero + 1, zero, zero, zero, is_stuck)

    def step(self, done: tf.Tensor, episode: _Episode) -> _Episode:
        """Takes a step in every copy, and begins the next episode where one has ended.

        Args:
            done: The number of steps before this one.
            episode: The episodes before the step.
        """
        env = self._env
        random = stateless_uniform([2, self._copies, env.num_random + 1], fold_in(self._seed, done))
        acted_on = env.acted_on(episode.state)
        action = self._act(acted_on, random[0, :, -1])
        reached, reward, ended = env.step(episode.state, action, random[0, :, :-1])
        length, discounted = episode.length + 1, episode.discounted + episode.factor * reward
        if env.max_episode_steps is not None:
            ended |= length >= env.max_episode_steps
        return _Episode(
            tf.where(ended[:, None], env.initial_state(random[1, :, :-1]), reached),
            tf.where(ended, 0, length),
            tf.where(ended, 1.0, episode.factor * self._discount),
            tf.where(ended, 0.0, discounted),
            episode.total + tf.where(ended, discounted, 0.0),
            episode.finished + tf.cast(ended, tf.float32),
            episode.is_stuck | is_without_action(acted_on) if self._has_masks else (),
        )
