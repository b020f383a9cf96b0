"""A sum tree, from which an entry is drawn with a probability in proportion to its value."""

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

GROUP = 16  # the number of children of a node: 16 float32 fill one cache line of 64 bytes
_MOST = 32  # groups whose sums are computed at each draw, which is faster than storing them


class SumTree(tf.Module):
    """A sum tree of non-negative entries, in which each node holds the sum of its 16 children.

    Each sum is computed from its 16 summands whenever one of them is written, so that rounding errors do not add up.
    XLA compiles all methods but `clear`, and their time depends on the logarithm of the number of entries alone.

    Args:
        size: The number of entries. One more, which is always 0, follows them.

    Attributes:
        size: The number of entries.
        num_groups: The number of groups of 16 entries.
        tables: The entries, then the sums of each 16, up to a table of at most 32 groups, filled up with zeros.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.num_groups = size, -(-(size + 1) // GROUP)
        numbers = [self.num_groups]
        while numbers[-1] > _MOST:
            numbers.append(-(-numbers[-1] // GROUP))
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
        """Sets groups of 16 consecutive entries. One that is given several times must have the same values each time.

        Args:
            groups: The numbers of the groups, `[G]` int32.
            values: The new values of their entries, `[G, 16]` float32.
        """
        rows = tf.reshape(group_rows(groups), [-1])
        self.tables[0].scatter_update(tf.IndexedSlices(tf.reshape(values, [-1]), rows))
        self._add_up(groups)

    def draw(self, uniform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws entries independently, with replacement.

        At each node a child is drawn in proportion to its sum, with a random number of its own. The resolution of the
        probabilities therefore does not depend on the size of the tree. An entry of 0 is never drawn unless all are 0.

        Args:
            uniform: Uniform random numbers from `[0, 1)`, `[num_draws, B]` float32.

        Returns:
            The numbers of the entries, `[B]` int32, and their values, `[B]` float32. If these were read afterwards, XLA
            would copy the table in each iteration of a loop, because no later write depends on that read.
        """
        numbers = tf.unstack(uniform)
        top = tf.reshape(tf.convert_to_tensor(self.tables[-1]), [1, -1, GROUP])
        node = _choose(tf.reduce_sum(top, axis=2), numbers.pop())
        for table in reversed(self.tables):
            children = tf.gather(table, group_rows(node))  # [B, 16]
            child = _choose(children, numbers.pop())
            node = node * GROUP + child
        is_drawn = child[:, None] == tf.range(GROUP)
        return node, tf.reduce_sum(tf.where(is_drawn, children, 0.0), axis=1)

    def _add_up(self, groups: tf.Tensor) -> None:
        """Computes the sums of groups of entries, of the groups that hold these sums, and so on."""
        for table, sums in itertools.pairwise(self.tables):
            _scatter(sums.scatter_update, groups, tf.reduce_sum(tf.gather(table, group_rows(groups)), axis=1))
            groups //= GROUP


def group_rows(groups: tf.Tensor) -> tf.Tensor:
    """Returns the numbers of the entries of groups.

    Args:
        groups: The numbers of the groups, `[G]` int32.

    Returns:
        The numbers of the entries, `[G, 16]` int32.
    """
    return groups[:, None] * GROUP + tf.range(GROUP)


def _choose(values: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Chooses one of the n values in each row with a probability in proportion to it.

    Args:
        values: The values, `[B, n]` or `[1, n]` float32.
        uniform: Uniform random numbers from 0 to 1 − 2⁻²⁴, `[B]` float32.

    Returns:
        The numbers of the values, `[B]` int32.
    """
    n = values.shape[1]
    sums = tf.reduce_sum(values[:, :, None] * np.triu(np.ones([n, n], np.float32)), axis=1)  # [B, n]
    # The product is below the last sum, and so below that of the last value that is not 0: the zeros after it add
    # nothing.
    is_possible = (sums > (uniform * sums[:, -1])[:, None]) & (values > 0)
    return tf.reduce_min(tf.where(is_possible, tf.range(n), n - 1), axis=1)


def _scatter(write: Callable[[tf.IndexedSlices], object], rows: tf.Tensor, values: tf.Tensor) -> None:
    """Writes values into the rows of a table. A single one is written twice; see `mtq.experience.replay`."""
    if rows.shape[0] == 1:
        rows, values = tf.repeat(rows, 2), tf.repeat(values, 2)
    write(tf.IndexedSlices(values, rows))
