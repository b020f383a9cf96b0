"""A tree of sums, from which an entry is drawn with a probability in proportion to its value."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

_PART = 8  # the children of a node are drawn in two stages: first one of eight parts, then one of its eight children
GROUP = _PART * _PART  # the number of children of a node
_MOST = 64  # groups of which the sums are computed whenever an entry is drawn, in less time than storing them takes


class SumTree(tf.Module):
    """Numbers of at least 0, and the sums of every 64 of them, of every 64 of these sums, and so on.

    Each sum is computed from its 64 summands whenever one of them is written, so that rounding errors do not add up.
    XLA compiles all methods but `clear`, and their time depends on the logarithm of the number of entries alone.

    Args:
        size: The number of entries. One more, which is always 0, follows them.

    Attributes:
        size: The number of entries.
        num_groups: The number of groups of 64 entries.
        tables: The entries, then the sums of each 64, up to a table of at most 64 groups, filled up with zeros.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.num_groups = size, -(-(size + 1) // GROUP)
        number = self.num_groups
        numbers = [number]
        while number > _MOST:
            number = -(-number // GROUP)
            numbers.append(number)
        numbers[-1] = -(-number // _PART) * _PART
        self.tables = [tf.Variable(tf.zeros([number * GROUP]), trainable=False) for number in numbers]

    @property
    def num_draws(self) -> int:
        """The number of uniform random numbers that a draw takes."""
        return 1 + len(self.tables)

    def clear(self) -> None:
        """Sets all entries to 0."""
        for table in self.tables:
            table.assign(tf.zeros_like(table))

    def read(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the values of entries.

        Args:
            rows: The numbers of the entries, an integer tensor.
        """
        return tf.gather(self.tables[0], rows)

    def write(self, rows: tf.Tensor, values: tf.Tensor) -> None:
        """Sets entries. One that is given several times gets the largest of its values.

        Args:
            rows: The numbers of the entries, `[B]` int32. `size` is that of the entry that must stay 0.
            values: The new values, `[B]` float32.
        """
        entries = self.tables[0]
        _scatter(entries.scatter_update, rows, tf.zeros_like(values))
        _scatter(entries.scatter_max, rows, values)
        self._add_up(rows // GROUP)

    def write_groups(self, groups: tf.Tensor, values: tf.Tensor) -> None:
        """Sets groups of 64 consecutive entries. One that is given several times must have the same values each time.

        Args:
            groups: The numbers of the groups, `[G]` int32.
            values: The new values of their entries, `[G, 64]` float32.
        """
        rows = tf.reshape(group_rows(groups), [-1])
        self.tables[0].scatter_update(tf.IndexedSlices(tf.reshape(values, [-1]), rows))
        self._add_up(groups)

    def draw(self, uniform: tf.Tensor) -> tf.Tensor:
        """Draws entries independently, with replacement.

        At each node a child is drawn in proportion to its sum, with a random number of its own. So the probabilities do
        not become coarse in large trees. An entry of 0 is never drawn unless all are 0.

        Args:
            uniform: Uniform random numbers from `[0, 1)`, `[num_draws, B]` float32.

        Returns:
            The numbers of the entries, `[B]` int32.
        """
        numbers = tf.unstack(uniform)
        top = tf.reshape(tf.convert_to_tensor(self.tables[-1]), [-1, _PART, GROUP])
        top = tf.reduce_sum(top, axis=2)  # the sums of groups, by their parts
        part, rest = _choose(tf.reduce_sum(top, axis=1)[None], numbers.pop())
        child, _ = _choose(tf.gather(top, part), rest)
        node = part * _PART + child
        for table in reversed(self.tables):
            part, rest = _choose(tf.reduce_sum(_groups(table, node), axis=2), numbers.pop())
            part += node * _PART
            child, _ = _choose(tf.gather(table, part[:, None] * _PART + tf.range(_PART)), rest)
            node = part * _PART + child
        return node

    def _add_up(self, groups: tf.Tensor) -> None:
        """Computes the sums of groups of entries, of the groups that hold these sums, and so on."""
        for table, sums in zip(self.tables[:-1], self.tables[1:], strict=True):
            _scatter(sums.scatter_update, groups, tf.reduce_sum(_groups(table, groups), axis=[1, 2]))
            groups //= GROUP


def group_rows(groups: tf.Tensor) -> tf.Tensor:
    """Returns the numbers of the entries of groups.

    Args:
        groups: The numbers of the groups, `[G]` int32.

    Returns:
        The numbers of the entries, `[G, 64]` int32.
    """
    return groups[:, None] * GROUP + tf.range(GROUP)


def _groups(table: tf.Variable, groups: tf.Tensor) -> tf.Tensor:
    """Returns the values of groups in their parts, `[G, 8, 8]`."""
    return tf.reshape(tf.gather(table, group_rows(groups)), [-1, _PART, _PART])


def _choose(values: tf.Tensor, uniform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses one of the n values in each row with a probability in proportion to it.

    Args:
        values: The values, `[B, n]` or `[1, n]` float32.
        uniform: Uniform random numbers from 0 to 1 − 2⁻²⁴, `[B]` float32.

    Returns:
        The numbers of the values, `[B]` int32, and further uniform random numbers `[B]`, from the lower bits.
    """
    n = values.shape[1]
    sums = tf.reduce_sum(values[:, :, None] * np.triu(np.ones([n, n], np.float32)), axis=1)  # [B, n]
    aim = (uniform * sums[:, -1])[:, None]  # below the last sum
    is_chosen = (sums > aim) & (values > 0)
    number = tf.reduce_min(tf.where(is_chosen, tf.range(n), n - 1), axis=1)
    rest = tf.reduce_max(tf.where(is_chosen, 1 - (sums - aim) / values, 0.0), axis=1)  # of later ones at most 0
    return number, tf.clip_by_value(rest, 0.0, 1 - 2.0**-24)


def _scatter(write: Callable[[tf.IndexedSlices], object], rows: tf.Tensor, values: tf.Tensor) -> None:
    """Writes values into the rows of a table. A single one is written twice; see `mtq.experience.replay`."""
    if rows.shape[0] == 1:
        rows, values = tf.repeat(rows, 2), tf.repeat(values, 2)
    write(tf.IndexedSlices(values, rows))
