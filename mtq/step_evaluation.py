"""Evaluation over a fixed number of steps: mean discounted returns, as published multi-task studies report them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mtq.environments.make import make_copies
from mtq.evaluation import greedy_policy, task_seed
from mtq.playing import Act, check_playable
from mtq.random_numbers import stateless_uniform
from mtq.tasks import Task, TaskSet

Acts = dict[str, Act]


class StepEvaluator:
    """Plays one copy of each task for so many steps, episode after episode.

    A task's score is the mean discounted return of the episodes that ended within these steps, by a terminal or a time
    limit. The last one, if unfinished, does not count; if none finished the score is 0. In-graph tasks are played in
    one loop, which is compiled once.

    Args:
        model: A `MultiTaskDQN`, or None where only the random policy is played.
        tasks: By default the model's own.
        steps: Of each task, from 1.

    Raises:
        ValueError: `steps` is below 1, or there can be no copy of a task's environment.

    Reference:
        D'Eramo et al., "Sharing Knowledge in Multi-Task Deep Reinforcement Learning", ICLR 2020, section 5.
    """

    def __init__(self, model: Any, tasks: TaskSet | None = None, *, steps: int = 2_000) -> None:
        self.model, self.tasks = model, model.tasks if tasks is None else tasks
        if steps < 1:
            raise ValueError(f"steps of an evaluation must be 1 or more. Received: {steps!r}.")
        for task in self.tasks.values():
            check_playable(task, episodes=1)
        self._steps = steps
        self._in_graph = {name: task for name, task in self.tasks.items() if task.spec.in_graph}
        self._compiled: dict[str, Any] = {}
        self._policies: dict[str, Any] = {}

    def greedy(self, seed: int = 0) -> dict[str, float]:
        """Plays the model's best actions, with its weights of now.

        Args:
            seed: Of the environments.

        Returns:
            By task the mean discounted return.
        """

        def best(name: str) -> Act:
            path = self.model.paths[name]
            return lambda observation, _: tf.argmax(path(observation), axis=-1, output_type=tf.int32)

        scores = self._played_in_graph("greedy", best, seed)
        for name in self.tasks:
            if name not in scores:
                policy = self._policies.setdefault(name, greedy_policy(self.model.paths[name]))
                scores[name] = self._played(name, policy, seed)
        return {name: scores[name] for name in self.tasks}

    def random(self, seed: int = 0) -> dict[str, float]:
        """Plays uniformly random actions, for comparison; argument and result as of `greedy`."""

        def anything(name: str) -> Act:
            num_actions = self.tasks[name].num_actions
            return lambda _, random: tf.cast(random * num_actions, tf.int32)

        scores = self._played_in_graph("random", anything, seed)
        for name, task in self.tasks.items():
            if name not in scores:
                draws = np.random.default_rng(task_seed(self.tasks, name, seed))
                num_actions = task.num_actions
                scores[name] = self._played(name, lambda _, draws=draws, n=num_actions: draws.integers(n, size=1), seed)
        return {name: scores[name] for name in self.tasks}

    def _played_in_graph(self, policy: str, act_of: Callable[[str], Act], seed: int) -> dict[str, float]:
        if not self._in_graph:
            return {}
        if policy not in self._compiled:
            acts = {name: act_of(name) for name in self._in_graph}
            uses_xla = self.model is None or self.model.uses_xla
            play = lambda seeds: _play(self._in_graph, acts, self._steps, seeds)  # noqa: E731
            self._compiled[policy] = tf.function(play, autograph=False, jit_compile=uses_xla or None)
        seeds = [task_seed(self.tasks, name, seed) for name in self._in_graph]
        parts = [[number >> 31, number & 0x7FFFFFFF] for number in seeds]
        scores = self._compiled[policy](tf.constant(parts, tf.int32)).numpy()
        return dict(zip(self._in_graph, scores.tolist(), strict=True))

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
    """An open episode of one task, and the sums over those before it; each a tensor of one number but the state."""

    state: tf.Tensor
    length: tf.Tensor
    factor: tf.Tensor
    discounted: tf.Tensor
    total: tf.Tensor
    finished: tf.Tensor


def _play(tasks: dict[str, Task], acts: Acts, steps: int, seeds: tf.Tensor) -> tf.Tensor:
    """The mean discounted returns, `[T]`; `seeds` is `[T, 2]`."""
    dynamics = {name: task.make_environment() for name, task in tasks.items()}

    def begin(number: int, name: str) -> _Episode:
        state = dynamics[name].initial_state(stateless_uniform([1, dynamics[name].num_random], seeds[number]))
        zero = tf.zeros([1])
        return _Episode(state, tf.zeros([1], tf.int32), zero + 1, zero, zero, zero)

    def step(done: tf.Tensor, name: str, at: _Episode, seed: tf.Tensor) -> _Episode:
        of = dynamics[name]
        seed = tf.random.experimental.stateless_fold_in(seed, done)
        random = stateless_uniform([2, 1, of.num_random + 1], seed)
        action = acts[name](of.observe(at.state), random[0, :, -1])
        reached, reward, ended = of.step(at.state, action, random[0, :, :-1])
        length, discounted = at.length + 1, at.discounted + at.factor * reward
        if of.max_episode_steps is not None:
            ended |= length >= of.max_episode_steps
        return _Episode(
            tf.where(ended[:, None], of.initial_state(random[1, :, :-1]), reached),
            tf.where(ended, 0, length),
            tf.where(ended, 1.0, at.factor * tasks[name].discount),
            tf.where(ended, 0.0, discounted),
            at.total + tf.where(ended, discounted, 0.0),
            at.finished + tf.cast(ended, tf.float32),
        )

    def joint_step(done: tf.Tensor, at: list[_Episode]) -> tuple[tf.Tensor, list[_Episode]]:
        names = enumerate(tasks)
        return done + 1, [step(done, name, at[number], seeds[number]) for number, name in names]

    start = [begin(number, name) for number, name in enumerate(tasks)]
    _, end = tf.while_loop(lambda done, _: done < steps, joint_step, [tf.constant(0), start])
    return tf.concat([tf.math.divide_no_nan(at.total, at.finished) for at in end], axis=0)
