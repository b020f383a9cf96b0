"""Prioritized experience replay."""

from collections.abc import Mapping
from typing import Any, Self

import keras
import tensorflow as tf

from mtq.checks import CHECKED_STEPS, check_keras, real
from mtq.experience.exploration import Schedule
from mtq.experience.sampler import Sampler, Selection
from mtq.experience.sum_tree import GROUP, SumTree, group_rows
from mtq.random_numbers import make_generator, reseed, uniform
from mtq.storage.deserialization import deserialize

_GROUPS = 1  # groups of rows that a round sets of each range; the steps between two batches are rarely in more
_LEAST, _MOST = 1e-30, 1e30  # of a priority, so that neither their sums overflow nor one becomes 0


@keras.saving.register_keras_serializable("mtq")
class PrioritizedSampler(Sampler):
    """Selects a transition i with a probability that follows from its latest temporal-difference error δ_i.

        p_i = (|δ_i| + ε)^α,    P(i) = p_i / Σ_k p_k,    w_i = (N P(i))^−β / max_j (N P(j))^−β

    This is the proportional variant, with independent draws. w_i is the weight of the loss of row i, the maximum is over
    the batch, and N is the number of transitions that can be selected. N and the sum cancel: w_i = (min_j p_j / p_i)^β. A
    new transition has the largest priority so far, at least 1. Each task and replica has priorities of its own, so that
    tasks whose errors are large do not displace others.

    Args:
        alpha: The exponent α of the priorities, from 0 to 1. With 0 all transitions have the same probability.
        beta: The exponent β of the weights, from 0 to 1, or a `keras.optimizers.schedules` schedule of it over the
            number of batches that were drawn. With 1 the weights correct the change of the distribution fully. The paper
            increases β linearly, from 0.4 to 1 at the end of the training.
        epsilon: The positive number ε, due to which transitions without an error are selected again.

    Raises:
        ValueError: A setting is out of its range. The message names it.

    Example:
        >>> import mtq
        >>> mtq.samplers.Prioritized(alpha=0.5).get_config()
        {'alpha': 0.5, 'beta': 0.4, 'epsilon': 1e-06}

    Reference:
        Schaul, Quan, Antonoglou and Silver, "Prioritized Experience Replay", ICLR 2016, equation 1 and section 3.4.
    """

    has_weights = needs_errors = True

    def __init__(self, alpha: float = 0.6, beta: Schedule = 0.4, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.alpha = real("alpha, the exponent of the priorities,", alpha, least=0, most=1)
        self.beta = _checked(beta)
        self.epsilon = real("epsilon, which is added to the errors,", epsilon, above=0)

    def get_config(self) -> dict[str, Any]:
        """Returns the settings."""
        beta = keras.saving.serialize_keras_object(self.beta) if callable(self.beta) else self.beta
        return {"alpha": self.alpha, "beta": beta, "epsilon": self.epsilon}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes a sampler from its settings."""
        beta = config.get("beta")
        if isinstance(beta, Mapping):
            config = {**config, "beta": deserialize("beta", beta, keras.optimizers.schedules.LearningRateSchedule)}
        return cls(**config)

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the sums of the priorities. The steps of all copies at one time are next to each other in them."""
        self._length, self._num_envs = length, num_envs
        self._tree, self._random = SumTree(length * num_envs), make_generator(seed)
        # The steps that can be selected, and have a priority: from the first to before the end.
        self._first = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._end = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._largest = tf.Variable(1.0, trainable=False)
        self._num_batches = tf.Variable(0, dtype=tf.int64, trainable=False)

    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> Selection:
        """Selects starts with probabilities in proportion to their priorities."""
        self._move(first, first + number)
        rows = self._tree.draw(uniform(self._random, [self._tree.num_draws, batch_size]))
        place = rows // self._num_envs
        after_first = _modulo(place - tf.cast(first % self._length, tf.int32), self._length)
        beta = self.beta(self._num_batches.read_value()) if callable(self.beta) else self.beta
        self._num_batches.assign_add(1)
        priorities = self._tree.read(rows)
        weight = (tf.reduce_min(priorities) / priorities) ** tf.cast(beta, tf.float32)
        copy = tf.cast(rows - place * self._num_envs, tf.int64)
        return Selection(first + tf.cast(after_first, tf.int64), copy, weight)

    def update(self, selection: Selection, errors: tf.Tensor) -> None:
        """Sets the priorities of the rows of a batch.

        Rows that can no longer be selected, and those whose errors are not finite, keep theirs.
        """
        first = self._first.read_value()
        after_first = tf.cast(selection.step - first, tf.int32)
        place = _modulo(after_first + tf.cast(first % self._length, tf.int32) - self._length, self._length)
        rows = place * self._num_envs + tf.cast(selection.copy, tf.int32)
        is_valid = (selection.step >= first) & (selection.step < self._end) & tf.math.is_finite(errors)
        priorities = tf.clip_by_value((tf.abs(errors) + self.epsilon) ** self.alpha, _LEAST, _MOST)
        priorities = tf.where(is_valid, priorities, 0.0)
        self._tree.write(tf.where(is_valid, rows, self._tree.size), priorities)
        self._largest.assign(tf.maximum(self._largest, tf.reduce_max(priorities)))

    def reset(self, seed: int) -> None:
        """Removes all priorities, and draws from another seed."""
        self._tree.clear()
        for variable, value in ((self._first, 0), (self._end, 0), (self._largest, 1), (self._num_batches, 0)):
            variable.assign(value)
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Returns the priorities, their sums, the steps that have one, and the state of the random generator."""
        numbers = [self._first, self._end, self._largest, self._num_batches]
        return [*self._tree.tables, *numbers, self._random.state]

    def _move(self, first: tf.Tensor, end: tf.Tensor) -> None:
        """Sets the steps that have a priority: new ones get the largest so far, and others that of 0.

        The rows of the steps in one of the old and the new range, but not in both, are those between the old and the new
        first step, and between the old and the new end. A round sets the next groups of rows in both.
        """
        old_first, old_end = self._first.read_value(), self._end.read_value()
        starts, numbers = zip(*(self._groups_between(*pair) for pair in ((old_first, first), (old_end, end))), strict=True)
        largest = self._largest.read_value()
        since, old_number, number = (_small(n) for n in (first - old_first, old_end - old_first, end - first))
        first_place = tf.cast(first % self._length, tf.int32)

        def set_groups(done: tf.Tensor) -> tuple[tf.Tensor]:
            groups = tf.concat([start + done + tf.range(_GROUPS) for start in starts], axis=0) % self._tree.num_groups
            rows = group_rows(groups)
            after_first = _modulo(rows // self._num_envs - first_place, self._length)
            has_one = (after_first < number) & (rows < self._tree.size)
            had_one = (after_first + since >= 0) & (after_first + since < old_number)
            new = tf.where(had_one, self._tree.read(rows), largest)
            self._tree.write_groups(groups, tf.where(has_one, new, 0.0))
            return (done + _GROUPS,)

        most = tf.maximum(*numbers)
        set_groups = tf.autograph.experimental.do_not_convert(set_groups)
        tf.while_loop(lambda done: done < most, set_groups, [tf.constant(0)], parallel_iterations=1)
        self._first.assign(first)
        self._end.assign(end)

    def _groups_between(self, one: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the number of the first group with rows of the steps between two, and the number of groups."""
        num_steps = tf.cast(tf.minimum(tf.abs(other - one), self._length), tf.int32)
        row = tf.cast(tf.minimum(one, other) % self._length, tf.int32) * self._num_envs
        end, start = row + num_steps * self._num_envs, row // GROUP
        within = (end - 1) // GROUP + 1 - start
        around = self._tree.num_groups - start + (end - 1 - self._tree.size) // GROUP + 1
        number = tf.minimum(tf.where(end <= self._tree.size, within, around), self._tree.num_groups)
        return start, tf.where(num_steps > 0, number, 0)


def _checked(beta: Any) -> Schedule:
    check_keras("beta", beta)
    if not isinstance(beta, keras.optimizers.schedules.LearningRateSchedule):
        return real("beta, the exponent of the weights,", beta, least=0, most=1)
    for step in CHECKED_STEPS:
        real(f"beta at batch {step}, the exponent of the weights,", float(beta(step)), least=0, most=1)
    return beta


def _modulo(number: tf.Tensor, divisor: int) -> tf.Tensor:
    """Returns a number from −divisor to divisor − 1 modulo the divisor."""
    return tf.where(number < 0, number + divisor, number)


def _small(number: tf.Tensor) -> tf.Tensor:
    """Returns an int64 number as int32, with the nearest that cannot overflow in sums if it is large."""
    return tf.cast(tf.clip_by_value(number, -(2**30), 2**30), tf.int32)
