"""What is kept of the tasks' gradients with respect to one variable: in which form, and what can be done with it.

Every form answers the same questions.
"""

import abc
import itertools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache

_SMALL = 2**14  # numbers, up to which the gradients of several tasks are better put together than added up singly
_BLOCK = 4  # tasks: products of few long rows with few others are many times faster than of many with many
_LONG = 2**12  # numbers, from which on it pays to fill blocks up


class VariableGradients(abc.ABC):
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
        """Squared norms, `[n]`; very negative where this form cannot tell them in float32: look at copies."""

    @abc.abstractmethod
    def gram(self) -> tf.Tensor:
        """Inner products, `[n, n]`, with squared norms on the diagonal."""

    @abc.abstractmethod
    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """`Σ_i c_i g_i` in the shape of the variable."""


class SeparateGradients(VariableGradients):
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
        """All at once, or of large variables one by one."""
        return sums_of_squares(self._copies)

    def gram(self) -> tf.Tensor:
        """From a matrix with a row per task."""
        if len(self.tasks) == 1:
            return self.squares()[:, None]
        return _inner_products(tf.stack([tf.reshape(copy, [-1]) for copy in self._copies]))

    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """A weighted sum."""
        return tf.add_n([c * copy for c, copy in zip(coefficients.each(self.tasks), self._copies, strict=True)])


class StackedGradients(VariableGradients):
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
        return _inner_products(self._flat())

    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """C times the stack."""
        c = coefficients.vector(self.tasks)
        return tf.reshape(tf.linalg.matvec(self._flat(), c, transpose_a=True), self.shape)

    def _flat(self) -> tf.Tensor:
        return tf.reshape(self._stack, [len(self.tasks), self.shape.num_elements()])


class Coefficients:
    """A number per task, taken apart once for all variables.

    Args:
        numbers: `[T]` float32.
    """

    def __init__(self, numbers: tf.Tensor) -> None:
        self._numbers, self._num_tasks, self._kept = numbers, numbers.shape[0], GraphCache()

    def vector(self, tasks: Sequence[int]) -> tf.Tensor:
        """Those of n tasks, `[n]`."""
        return self._numbers if len(tasks) == self._num_tasks else tf.stack(self.each(tasks))

    def each(self, tasks: Sequence[int]) -> list[tf.Tensor]:
        """Those of n tasks, n scalars."""
        scalars = self._kept.get("scalars", lambda: tf.unstack(self._numbers, self._num_tasks))
        return [scalars[task] for task in tasks]


def _inner_products(rows: tf.Tensor) -> tf.Tensor:
    """`R Rᵀ` of few long rows, `[n, numbers]` → `[n, n]`.

    In blocks of four or five rows, filled up with zeros if the rows are long. For two or three long rows, XLA on a CPU
    adds up the products one after the other: up to four times as slow, with a hundred times the rounding error.
    """
    n, numbers = rows.shape
    num_blocks = n // _BLOCK if n % _BLOCK <= n // _BLOCK else n // _BLOCK + 1
    missing = max(_BLOCK * num_blocks - n, 0) if (numbers or 0) >= _LONG else 0
    if missing:
        rows = tf.pad(rows, [[0, missing], [0, 0]])
    least, larger = divmod(n + missing, num_blocks)
    blocks = tf.split(rows, [least + (k < larger) for k in range(num_blocks)]) if num_blocks > 1 else [rows]
    products: dict[tuple[int, int], tf.Tensor] = {}
    for i, j in itertools.combinations_with_replacement(range(num_blocks), 2):
        products[i, j] = tf.matmul(blocks[i], blocks[j], transpose_b=True)
        products[j, i] = products[i, j] if i == j else tf.transpose(products[i, j])
    if num_blocks == 1:
        joined = products[0, 0]
    else:
        joined = tf.concat([tf.concat([products[i, j] for j in range(num_blocks)], 1) for i in range(num_blocks)], 0)
    return joined[:n, :n] if missing else joined


def sums_of_squares(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Over each of n tensors of one shape, `[n]`."""
    if tensors[0].shape.num_elements() > _SMALL:
        return tf.stack([sum_of_squares(tensor) for tensor in tensors])
    return _sums(tf.square(tf.stack(tensors)), first_axes=1)


def sum_of_squares(tensor: tf.Tensor) -> tf.Tensor:
    """Over the whole tensor."""
    return _sums(tf.square(tensor), first_axes=0)


def _sums(tensor: tf.Tensor, first_axes: int) -> tf.Tensor:
    """Over all axes but the first.

    XLA adds up whole tensors one number after the other, but the rows of a matrix side by side, seven times as fast;
    the condition, which is never met for squares, keeps it from making one sum of the two.
    """
    columns = tf.reduce_sum(tensor, axis=list(range(first_axes, tensor.shape.rank - 1)))
    return tf.reduce_sum(tf.where(columns < 0, 0.0, columns), axis=-1) if columns.shape.rank > first_axes else columns
