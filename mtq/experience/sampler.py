"""Samplers, which select the stored steps that a batch starts from."""

import abc
from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf

from mtq.random_numbers import make_generator, reseed


class Selection(NamedTuple):
    """The starts of the transitions of a batch.

    Attributes:
        step: The numbers of the steps, counted from the beginning of the run in each copy, `[B]` int64.
        copy: The numbers of the copies of the environment, `[B]` int64.
        weight: The factors of the transitions' losses, `[B]` float32; None if all count the same.
    """

    step: tf.Tensor
    copy: tf.Tensor
    weight: tf.Tensor | None = None


class Sampler(tf.Module, abc.ABC):
    """Selects the steps from which the transitions of a batch start.

    Each replay has a sampler of its own, made by the class or function that the user passed, or from the config of the
    sampler that the user passed. N is the number of copies of the environment. With in-graph tasks all methods but
    `build`, `reset` and `state` are compiled by XLA, so they need static shapes.

    Attributes:
        has_weights: Whether `select` returns weights. Batches then have a `weight`.
        needs_errors: Whether `update` is to be called after each update of the network. Only `fit` does so.
        is_built: Whether a replay uses this sampler. A replay sets it after `build`.
    """

    has_weights = False
    needs_errors = False
    is_built = False

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, from which `from_config` makes another sampler.

        Raises:
            NotImplementedError: The class has a constructor of its own, and does not define this method.
        """
        if type(self).__init__ is not Sampler.__init__:
            raise NotImplementedError(
                f"{type(self).__name__} must define get_config, which returns the arguments of its constructor, so "
                "that each task and replica can have a sampler of its own. Received: a class without it. Define it, "
                "or pass a function that makes the sampler, such as functools.partial(MySampler, alpha=0.6)."
            )
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes a sampler that is not built.

        Args:
            config: What `get_config` returned.
        """
        return cls(**config)

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the variables. Called once, before the first step is stored.

        Args:
            length: The number of steps that are stored of each copy.
            num_envs: The number of copies of the environment, N.
            seed: The seed of the random numbers.
        """

    def added(self, step: tf.Tensor) -> None:
        """Called in the graph after a step of every copy was stored. It replaces the step `length` steps earlier.

        A replay of images may remove older steps too if episodes are short. Only the argument `first` of `select` says
        which steps can be selected.

        Args:
            step: The number of the step, an int64 scalar.
        """

    @abc.abstractmethod
    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> Selection:
        """Selects starts, with replacement, in the graph.

        Args:
            batch_size: The number of starts, B.
            first: The oldest step that a transition can start from, an int64 scalar.
            number: The number of steps, from `first` on, that a transition can start from in each copy, an int64
                scalar. With environments in Python the last of them may be stored, and `added` called, only
                afterwards.
        """

    def update(self, selection: Selection, errors: tf.Tensor) -> None:
        """Called after an update of the network, in the graph, if `needs_errors`.

        Args:
            selection: The selection that `select` returned for the batch of the update.
            errors: The errors of its rows, `[B]` float32: temporal-difference errors in the units of rewards, or
                the cross-entropies of heads that learn by them.
        """

    def check_recorded(self) -> None:
        """Raises an error that the graph has recorded. Called after each execution, outside of graphs."""

    def reset(self, seed: int) -> None:
        """Sets all variables to their initial values, and draws from another seed.

        Args:
            seed: The seed, as for `build`.
        """

    def state(self) -> list[tf.Variable]:
        """Returns the variables that a checkpoint must contain, always in the same order."""
        return []


@keras.saving.register_keras_serializable("mtq")
class UniformSampler(Sampler):
    """Selects every possible start with the same probability."""

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the random generator."""
        self._num_envs, self._random = num_envs, make_generator(seed)

    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> Selection:
        """Selects starts uniformly."""
        drawn = self._random.uniform([batch_size], 0, number * self._num_envs, tf.int64)
        return Selection(first + drawn // self._num_envs, drawn % self._num_envs)

    def reset(self, seed: int) -> None:
        """Draws from another seed."""
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Returns the state of the random generator."""
        return [self._random.state]


class Drawn(NamedTuple):
    """A batch, and the selections of its rows.

    Attributes:
        batch: The batch `{task: Transition}`.
        selections: The selections of the samplers, by task. Replays that are not mtq's have none.
    """

    batch: dict[str, Any]
    selections: dict[str, Selection]
