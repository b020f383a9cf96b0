"""Samplers, which select the stored steps from which the transitions of a batch start."""

import abc

import tensorflow as tf

from mtq.random_numbers import make_generator, reseed


class Sampler(tf.Module, abc.ABC):
    """The base class of samplers, which select the steps from which the transitions of a batch start.

    Each replay buffer has its own sampler. Steps are counted from the start of the run, separately for each of the N
    copies of the environment. A subclass creates its variables in `build` and returns them from `state`.
    """

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the variables. Called once, before any step is stored.

        Args:
            length: The number of steps that are stored of each copy.
            num_envs: The number of copies of the environment, N.
            seed: The seed of the random numbers.
        """

    def added(self, step: tf.Tensor) -> None:
        """Called in a graph after one step of every copy was stored.

        Args:
            step: The number of the step, an int64 scalar.
        """

    @abc.abstractmethod
    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Selects the steps from which transitions start, with replacement. For use in a graph.

        Args:
            batch_size: The number of transitions, B.
            first: The number of the oldest step from which a transition can start, an int64 scalar.
            number: The number of consecutive steps of each copy, beginning with `first`, from which a transition can
                start, an int64 scalar.

        Returns:
            The numbers of the steps and of their copies, `[B]` int64 each.
        """

    def reset(self, seed: int) -> None:
        """Clears the variables, and sets the seed of the random numbers.

        Args:
            seed: The seed of the random numbers.
        """

    def state(self) -> list[tf.Variable]:
        """Returns the variables for checkpoints, always in the same order."""
        return []


class UniformSampler(Sampler):
    """Selects every step from which a transition can start with the same probability."""

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the random generator."""
        self._num_envs, self._random = num_envs, make_generator(seed)

    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Selects steps uniformly, with replacement."""
        drawn = self._random.uniform([batch_size], 0, number * self._num_envs, tf.int64)
        return first + drawn // self._num_envs, drawn % self._num_envs

    def reset(self, seed: int) -> None:
        """Sets the seed of the random generator."""
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Returns the state of the random generator."""
        return [self._random.state]
