"""What is kept of the tasks' gradients with respect to one variable: in which form, and what can be done with it.

Every form answers the same questions.
"""

import abc
from collections.abc import Mapping

import tensorflow as tf

_MANY = 8  # tasks, from which on a Gram matrix is faster from many small products than from one of long rows


class Part(abc.ABC):
    """The gradients of n tasks with respect to one variable.

    Attributes:
        tasks: The numbers of the tasks whose losses touch the variable, n of them.
        shape: Of the variable.
    """

    tasks: tuple[int, ...]
    shape: tf.TensorShape

    @abc.abstractmethod
    def copies(self) -> list[tf.Tensor]:
        """The gradients themselves, n tensors in the shape of the variable."""

    @abc.abstractmethod
    def squares(self) -> tf.Tensor:
        """Squared norms, `[n]`."""

    @abc.abstractmethod
    def gram(self) -> tf.Tensor:
        """Inner products, `[n, n]`."""

    @abc.abstractmethod
    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """`Σ_i c_i g_i` in the shape of the variable, from c `[n]`."""


class Copies(Part):
    """A tensor per task.

    Args:
        gradients: By the task's number.
    """

    def __init__(self, gradients: Mapping[int, tf.Tensor]) -> None:
        self.tasks, self._copies = tuple(gradients), list(gradients.values())
        self.shape = self._copies[0].shape

    def copies(self) -> list[tf.Tensor]:
        """As they were given."""
        return self._copies

    def squares(self) -> tf.Tensor:
        """One by one."""
        return tf.stack([sum_of_squares(copy) for copy in self._copies])

    def gram(self) -> tf.Tensor:
        """From one matrix with a row per task, or of many tasks from one per row of the variable."""
        if len(self.tasks) == 1:
            return self.squares()[:, None]
        if len(self.tasks) >= _MANY and self.shape.rank > 1:
            rows = tf.stack([tf.reshape(copy, [-1, self.shape[-1]]) for copy in self._copies], axis=1)
            return tf.reduce_sum(tf.matmul(rows, rows, transpose_b=True), axis=0)
        flat = tf.stack([tf.reshape(copy, [-1]) for copy in self._copies])
        return tf.matmul(flat, flat, transpose_b=True)

    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """A weighted sum."""
        c = tf.unstack(coefficients, len(self.tasks))
        return tf.add_n([c[i] * copy for i, copy in enumerate(self._copies)])


class Stacked(Part):
    """One tensor with all tasks' gradients along its first axis.

    Args:
        tasks: Their numbers.
        stack: `[n, …]`.
    """

    def __init__(self, tasks: tuple[int, ...], stack: tf.Tensor) -> None:
        self.tasks, self._stack, self.shape = tasks, stack, stack.shape[1:]

    def copies(self) -> list[tf.Tensor]:
        """Taken apart."""
        return tf.unstack(self._stack, len(self.tasks))

    def squares(self) -> tf.Tensor:
        """Of all at once."""
        return tf.reduce_sum(tf.square(self._flat()), axis=1)

    def gram(self) -> tf.Tensor:
        """The stack times itself."""
        return tf.matmul(self._flat(), self._flat(), transpose_b=True)

    def combine(self, coefficients: tf.Tensor) -> tf.Tensor:
        """C times the stack."""
        return tf.reshape(tf.linalg.matvec(self._flat(), coefficients, transpose_a=True), self.shape)

    def _flat(self) -> tf.Tensor:
        return tf.reshape(self._stack, [len(self.tasks), self.shape.num_elements()])


def sum_of_squares(tensor: tf.Tensor) -> tf.Tensor:
    """Over the whole tensor.

    XLA adds up a whole tensor one number after the other, but the rows of a matrix side by side, seven times as fast;
    the condition, which is never met, keeps it from making one sum of the two.
    """
    columns = tf.reduce_sum(tf.square(tensor), axis=list(range(tensor.shape.rank - 1)))
    return tf.reduce_sum(tf.where(columns < 0, 0.0, columns))
