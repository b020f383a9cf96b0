"""Whole episodes and their returns, played from Python, or within a graph if the environment supports it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mtq import value_learning as vl
from mtq.checks import integer
from mtq.dynamics.checked import CheckedDynamics
from mtq.environments.make import make_copies
from mtq.environments.masks import no_legal_action
from mtq.random_numbers import fold_in, seed_words, stateless_uniform
from mtq.tasks.action_masks import split_observation
from mtq.tasks.environment_source import is_tf_agents
from mtq.tasks.task import Task

Policy = Callable[[Any], np.ndarray]
Act = Callable[[Any, tf.Tensor], tf.Tensor]
MAX_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class EpisodeReturns:
    """The undiscounted, unscaled returns of some episodes.

    Attributes:
        returns: The return of each episode, `[episodes]`.
        lengths: The number of steps of each episode, `[episodes]`.
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """The mean of the returns."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """The sample standard deviation of the returns; 0 for a single episode."""
        return float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0


def play(task: Task, policy: Policy, *, episodes: int, seed: int, max_steps: int = MAX_STEPS) -> EpisodeReturns:
    """Plays whole episodes in parallel, each in its own copy of the environment.

    Args:
        task: The task.
        policy: A function from observations `[episodes, …]` to actions `[episodes]`. Actions count from 0, whatever
            number the environment gives its first action. If the task has masks of legal actions, the policy gets the
            pair of observations and masks, `[episodes, A]` bool, and must select legal actions.
        episodes: The number of episodes, at least 1.
        seed: The seed of the environments.
        max_steps: The number of steps after which an unfinished episode is truncated. Its rewards so far count.

    Returns:
        The returns and lengths of the episodes.

    Raises:
        ValueError: `episodes` is below 1, or the environment was given as an object.
    """
    check_playable(task, episodes)
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


def best_action(path: Callable[[tf.Tensor], tf.Tensor]) -> Act:
    """Returns a function that selects the greedy action in a graph.

    Args:
        path: A network `observation` → `q_values`, such as `model.paths[name]`.
    """

    def act(acted_on: Any, _: tf.Tensor) -> tf.Tensor:
        observation, mask = split_observation(acted_on)
        return vl.greedy_actions(path(observation), mask)

    return act


def any_action(num_actions: int) -> Act:
    """Returns a function that selects uniformly random legal actions in a graph.

    Args:
        num_actions: The number of actions A.
    """
    return lambda acted_on, random: vl.random_actions(random, num_actions, split_observation(acted_on)[1])


def random_policy(num_actions: int, seed: int) -> Policy:
    """Returns a policy that selects uniformly random legal actions in Python.

    Args:
        num_actions: The number of actions A.
        seed: The seed of the actions.
    """
    random = np.random.default_rng(seed)

    def act(acted_on: Any) -> np.ndarray:
        observation, mask = split_observation(acted_on)
        if mask is None:
            return random.integers(num_actions, size=len(observation))
        return np.array([random.choice(np.flatnonzero(legal)) for legal in mask])

    return act


class InGraphPlayer:
    """Plays whole episodes of an in-graph task in parallel, within one graph that is compiled once.

    Args:
        task: The task, whose environment is a `mtq.dynamics.Dynamics`.
        act: A function from observations `[episodes, …]`, or pairs of them and masks, and uniform numbers from 0 to 1,
            `[episodes]`, to actions `[episodes]`, int32.
        episodes: The number of episodes, at least 1.
        max_steps: The number of steps after which an unfinished episode is truncated. Its rewards so far count.
        jit_compile: Whether XLA compiles the graph.
    """

    def __init__(self, task: Task, act: Act, episodes: int, max_steps: int = MAX_STEPS, jit_compile: bool = True):
        check_playable(task, episodes)
        self._name, self._has_masks = task.name, task.spec.has_action_mask
        self._dynamics = CheckedDynamics(task.name, task.make_environment(), task.frame_stack, self._has_masks)
        self._act, self._episodes = act, episodes
        self._limit = min(max_steps, self._dynamics.max_episode_steps or max_steps)
        self._trace = tf.function(self._episode, autograph=False, jit_compile=jit_compile or None)
        self._play: Any = None

    def __call__(self, seed: int) -> EpisodeReturns:
        """Plays the episodes; the same seed gives the same episodes.

        Args:
            seed: The seed of the environments and of the numbers that `act` receives.
        """
        words = tf.constant(seed_words(seed))
        if self._play is None:  # a concrete function, because TensorFlow warns of many functions of one method
            self._play = self._trace.get_concrete_function(words)
        returns, lengths, is_stuck = self._play(words)
        if is_stuck is not None and bool(is_stuck):
            raise no_legal_action(self._name)
        if not np.isfinite(returns).all():
            raise not_finite(self._name)
        return EpisodeReturns(returns.numpy().astype(np.float64), lengths.numpy().astype(np.int64))

    def _episode(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        shape = [self._episodes, self._dynamics.num_random + 1]

        def step(
            done: tf.Tensor,
            state: tf.Tensor,
            open_: tf.Tensor,
            returns: tf.Tensor,
            lengths: tf.Tensor,
            *stuck: tf.Tensor,
        ) -> tuple:
            random = stateless_uniform(shape, fold_in(seed, done))
            acted_on = self._dynamics.acted_on(state)
            stuck = tuple(before | is_without_action(acted_on, open_) for before in stuck)
            action = self._act(acted_on, random[:, -1])
            reached, reward, terminated = self._dynamics.step(state, action, random[:, :-1])
            returns += tf.where(open_, reward, 0.0)
            lengths += tf.cast(open_, tf.int32)
            return done + 1, reached, open_ & ~terminated, returns, lengths, *stuck

        start = self._dynamics.initial_state(stateless_uniform(shape, seed)[:, :-1])
        zeros = tf.zeros([self._episodes])
        begin = [tf.constant(0), start, zeros < 1, zeros, tf.cast(zeros, tf.int32)]
        _, _, _, returns, lengths, *stuck = tf.while_loop(
            lambda done, _, open_, *__: (done < self._limit) & tf.reduce_any(open_),
            step,
            [*begin, *([tf.constant(False)] if self._has_masks else [])],
        )
        return returns, lengths, stuck[0] if stuck else None


def is_without_action(acted_on: Any, is_open: tf.Tensor | bool = True) -> tf.Tensor:
    """Returns whether no action is legal in a state that is acted on, a bool scalar.

    Args:
        acted_on: The pair of the observations and the masks, `[N, A]`.
        is_open: The copies that act, `[N]` bool.
    """
    return tf.reduce_any(~tf.reduce_any(split_observation(acted_on)[1], axis=1) & is_open)


def not_finite(name: str) -> ValueError:
    """Returns the error for dynamics whose returns are not finite.

    Args:
        name: The name of the task.
    """
    return ValueError(
        f"The dynamics of task '{name}' must return finite numbers. Received: a return that is not finite. Fix their "
        "step, or end the episode before the state overflows."
    )


def check_playable(task: Task, episodes: int) -> None:
    """Raises a ValueError unless the task's environment can be copied and there is at least one episode to play.

    Args:
        task: The task.
        episodes: The number of episodes.
    """
    integer("episodes", episodes)
    if is_tf_agents(task.environment):
        raise ValueError(
            f"Task '{task.name}' must have an environment that can be created again, for evaluations. Received: "
            f"{task.environment!r}, an object. Give the task a callable that returns an environment."
        )
