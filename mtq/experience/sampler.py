"""Samplers: which of the stored steps a batch starts from."""

import abc

import tensorflow as tf

from mtq.random_numbers import make_generator, reseed


class Sampler(tf.Module, abc.ABC):
    """Selects the steps from which the transitions of a batch start.

    Each replay has a sampler of its own. Steps are counted from the beginning of the run, separately in each of the N
    copies of the environment. A subclass makes its variables in `build` and lists them in `state`.
    """

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Makes the variables. Called once, before anything is stored.

        Args:
            length: The number of steps that are stored of each copy.
            num_envs: N.
            seed: The seed of the random numbers.
        """

    def added(self, step: tf.Tensor) -> None:
        """Called after a step of every copy was stored. For use in a graph.

        Args:
            step: The number of the step, an int64 scalar.
        """

    @abc.abstractmethod
    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Selects starts, with replacement. For use in a graph.

        Args:
            batch_size: B.
            first: The oldest step that a transition can start from, an int64 scalar.
            number: The number of steps, from `first` on, that it can start from in each copy, an int64 scalar.

        Returns:
            The steps and the numbers of the copies, `[B]` int64 each.
        """

    def reset(self, seed: int) -> None:
        """Forgets everything and draws from another seed.

        Args:
            seed: The seed, as for `build`.
        """

    def state(self) -> list[tf.Variable]:
        """The variables that a checkpoint must hold, always in the same order."""
        return []


class UniformSampler(Sampler):
    """Selects every possible start with the same probability."""

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Makes the random generator."""
        self._num_envs, self._random = num_envs, make_generator(seed)

    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Selects starts uniformly."""
        drawn = self._random.uniform([batch_size], 0, number * self._num_envs, tf.int64)
        return first + drawn // self._num_envs, drawn % self._num_envs

    def reset(self, seed: int) -> None:
        """Draws from another seed."""
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """The state of the random generator."""
        return [self._random.state]
