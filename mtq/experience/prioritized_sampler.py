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

_LEAST, _MOST = 1e-30, 1e30  # of a priority, so that neither their sums overflow nor one becomes 0


@keras.saving.register_keras_serializable("mtq")
class PrioritizedSampler(Sampler):
    """Selects transitions in proportion to their priorities p_i, which follow from their latest errors δ_i.

        p_i = (|δ_i| + ε)^α,    P(i) = p_i / Σ_k p_k,    w_i = (N P(i))^−β / max_j (N P(j))^−β

    This is the proportional variant, with independent draws. δ_i is the temporal-difference error in the units of
    rewards, or the cross-entropy of a head that learns by it. w_i multiplies the loss of row i, the maximum is over the
    rows of the batch on one replica, and N is the number of transitions that can be selected. N and the sum cancel,
    which leaves w_i = (min_j p_j / p_i)^β. A new transition has the largest priority so far, at least 1. Each task and
    replica has its own priorities, so that tasks with large errors do not displace others.

    Args:
        alpha: The exponent α of the priorities, from 0 to 1. With 0 all transitions have the same probability.
        beta: The exponent β of the weights, from 0 to 1, or a `keras.optimizers.schedules` schedule of it over the
            number of batches that were drawn. 1 fully corrects the bias of the sampling. The
            paper increases β linearly, from 0.4 to 1 at the end of the training.
        epsilon: The positive number ε, which keeps the priority of a transition without an error above 0.

    Raises:
        ValueError: A setting is out of its range, or a schedule of β returns such a value during the training. The
            message names it.

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
        """Returns the settings, a schedule as an object."""
        return {"alpha": self.alpha, "beta": self.beta, "epsilon": self.epsilon}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes a sampler from its settings, as `get_config` or a file has them."""
        beta = config.get("beta")
        if isinstance(beta, Mapping):
            config = {**config, "beta": deserialize("beta", beta, keras.optimizers.schedules.LearningRateSchedule)}
        return cls(**config)

    def build(self, length: int, num_envs: int, seed: int) -> None:
        """Creates the sums of the priorities. The steps of all copies at one time are next to each other in them."""
        self._length, self._num_envs = length, num_envs
        self._tree, self._random = SumTree(length * num_envs), make_generator(seed)
        # The steps that can be selected, and have a priority: from the first to before the end.
        self._range = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
        self._largest = tf.Variable(1.0, trainable=False)
        self._num_batches = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._wrong_beta = tf.Variable(0.0, trainable=False)  # the latest outside [0, 1]; the constructor checks few

    def select(self, batch_size: int, first: tf.Tensor, number: tf.Tensor) -> Selection:
        """Selects starts with probabilities in proportion to their priorities."""
        self._move(first, first + number)
        rows, priorities = self._tree.draw(uniform(self._random, [self._tree.num_draws, batch_size]))
        place = rows // self._num_envs
        after_first = _modulo(place - tf.cast(first % self._length, tf.int32), self._length)
        weight = (tf.reduce_min(priorities) / priorities) ** self._next_beta()
        copy = tf.cast(rows - place * self._num_envs, tf.int64)
        return Selection(first + tf.cast(after_first, tf.int64), copy, weight)

    def update(self, selection: Selection, errors: tf.Tensor) -> None:
        """Sets the priorities of the rows of a batch.

        Rows that can no longer be selected, and those whose errors are not finite, keep theirs.
        """
        first, end = tf.unstack(self._range.read_value())
        after_first = tf.cast(selection.step - first, tf.int32)
        place = _modulo(after_first + tf.cast(first % self._length, tf.int32) - self._length, self._length)
        rows = place * self._num_envs + tf.cast(selection.copy, tf.int32)
        is_valid = (selection.step >= first) & (selection.step < end) & tf.math.is_finite(errors)
        priorities = tf.clip_by_value((tf.abs(errors) + self.epsilon) ** self.alpha, _LEAST, _MOST)
        priorities = tf.where(is_valid, priorities, 0.0)
        self._tree.write(tf.where(is_valid, rows, self._tree.size), priorities)
        self._largest.assign(tf.maximum(self._largest, tf.reduce_max(priorities)))

    def check_recorded(self) -> None:
        """Raises a ValueError if the schedule has returned a β outside `[0, 1]`."""
        if callable(self.beta) and self._wrong_beta.numpy() != 0:
            raise ValueError(
                f"beta, the exponent of the weights, must stay from 0 to 1. Received: {self._wrong_beta.numpy():g} "
                f"from {type(self.beta).__name__}. Fix the schedule."
            )

    def reset(self, seed: int) -> None:
        """Removes all priorities, and draws from another seed."""
        self._tree.clear()
        initial = ((self._range, [0, 0]), (self._largest, 1), (self._num_batches, 0), (self._wrong_beta, 0))
        for variable, value in initial:
            variable.assign(value)
        reseed(self._random, seed)

    def state(self) -> list[tf.Variable]:
        """Returns the priorities, their sums, the steps that have one, and the state of the random generator."""
        numbers = [self._range, self._largest, self._num_batches]
        return [*self._tree.tables, *numbers, self._random.state]

    def _next_beta(self) -> tf.Tensor:
        """Returns the exponent of the weights, and counts the batch."""
        number = self._num_batches.read_value()
        self._num_batches.assign_add(1)
        if not callable(self.beta):
            return tf.constant(self.beta, tf.float32)
        beta = tf.cast(self.beta(number), tf.float32)
        self._wrong_beta.assign(tf.where((beta >= 0) & (beta <= 1), self._wrong_beta, beta))
        return beta

    def _move(self, first: tf.Tensor, end: tf.Tensor) -> None:
        """Sets the steps that have a priority: new steps get the largest priority so far, and removed ones 0.

        The steps in one of the old and the new range, but not in both, are those between the old and the new first,
        and those between the old and the new end. A round sets the next groups of rows of both, and is enough for one
        step of all copies.
        """
        old, new = self._range.read_value(), tf.stack([first, end])
        starts, most = self._groups_between(old, new)
        largest = self._largest.read_value()
        numbers = _small(tf.stack([first % self._length, first - old[0], old[1] - old[0], end - first]))
        num_groups = -(-self._num_envs // GROUP) + 1

        def set_groups(done: tf.Tensor) -> tuple[tf.Tensor]:
            first_place, since, old_number, number = tf.unstack(numbers)
            groups = tf.reshape(starts[:, None] + done + tf.range(num_groups), [-1]) % self._tree.num_groups
            rows = group_rows(groups)
            after_first = _modulo(rows // self._num_envs - first_place, self._length)
            has_one = (after_first < number) & (rows < self._tree.size)
            had_one = (after_first + since >= 0) & (after_first + since < old_number)
            priorities = tf.where(had_one, self._tree.read(rows), largest)
            self._tree.write_groups(groups, tf.where(has_one, priorities, 0.0))
            return (done + num_groups,)

        set_groups = tf.autograph.experimental.do_not_convert(set_groups)
        tf.while_loop(lambda done: done < most, set_groups, [tf.constant(0)], parallel_iterations=1)
        self._range.assign(new)

    def _groups_between(self, old: tf.Tensor, new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first group of the rows between two steps of each pair, `[2]`, and the largest number of groups.

        Args:
            old: The first step of each pair or the one after its last, `[2]` int64.
            new: The other one, `[2]` int64.
        """
        num_steps = tf.cast(tf.minimum(tf.abs(new - old), self._length), tf.int32)
        row = tf.cast(tf.minimum(old, new) % self._length, tf.int32) * self._num_envs
        end, start = row + num_steps * self._num_envs, row // GROUP
        within = (end - 1) // GROUP + 1 - start
        around = self._tree.num_groups - start + (end - 1 - self._tree.size) // GROUP + 1
        number = tf.minimum(tf.where(end <= self._tree.size, within, around), self._tree.num_groups)
        return start, tf.reduce_max(tf.where(num_steps > 0, number, 0))


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
