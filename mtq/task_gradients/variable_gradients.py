"""Representations of the tasks' gradients with respect to one variable, all with the same interface."""

import abc
import itertools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache

_SMALL = 2**14  # elements; up to this size it is faster to stack the gradients of several tasks than to reduce each
_BLOCK = 4  # tasks; products of few long rows with few others are many times faster than of many with many
_LONG = 2**12  # elements; from this length on padding the blocks pays


class VariableGradients(abc.ABC):
    """The gradients of n tasks with respect to one variable.

    Attributes:
        tasks: The indices of the n tasks whose losses depend on the variable.
        shape: The shape of the variable.
    """

    tasks: tuple[int, ...]
    shape: tf.TensorShape

    @abc.abstractmethod
    def copies(self) -> list[tf.Tensor]:
        """Returns the gradients as n tensors of the shape of the variable."""

    @abc.abstractmethod
    def squares(self) -> tf.Tensor:
        """Computes the squared norms, `[n]` float32.

        A very negative entry means that this representation cannot compute it in float32, and that the norm must be
        computed from `copies`.
        """

    @abc.abstractmethod
    def gram(self) -> tf.Tensor:
        """Computes the inner products, `[n, n]` float32, with the squared norms on the diagonal."""

    @abc.abstractmethod
    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """Computes the weighted sum `Σ_i c_i g_i`, a tensor of the shape of the variable.

        Args:
            coefficients: The coefficients c of all T tasks.
        """


class SeparateGradients(VariableGradients):
    """Gradients as one tensor per task.

    Args:
        gradients: The gradient of each task, by the index of the task.
    """

    def __init__(self, gradients: Mapping[int, tf.Tensor]) -> None:
        self.tasks, self._copies = tuple(gradients), list(gradients.values())
        self.shape = self._copies[0].shape

    def copies(self) -> list[tf.Tensor]:
        """Returns the tensors."""
        return self._copies

    def squares(self) -> tf.Tensor:
        """Computes the squared norms, `[n]`: of small variables in one reduction, of large ones one by one."""
        return sums_of_squares(self._copies)

    def gram(self) -> tf.Tensor:
        """Computes the inner products, `[n, n]`, from a matrix with one row per task."""
        if len(self.tasks) == 1:
            return self.squares()[:, None]
        return _inner_products(tf.stack([tf.reshape(copy, [-1]) for copy in self._copies]))

    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """Computes the weighted sum as a sum of n scaled tensors."""
        return tf.add_n([c * copy for c, copy in zip(coefficients.each(self.tasks), self._copies, strict=True)])


class StackedGradients(VariableGradients):
    """Gradients as one tensor, with the tasks along its first axis.

    Args:
        tasks: The indices of the n tasks.
        stack: The stacked gradients, `[n, …]`.
    """

    def __init__(self, tasks: tuple[int, ...], stack: tf.Tensor) -> None:
        self.tasks, self._stack, self.shape = tasks, stack, stack.shape[1:]

    def copies(self) -> list[tf.Tensor]:
        """Returns the slices of the stack."""
        return tf.unstack(self._stack, len(self.tasks))

    def squares(self) -> tf.Tensor:
        """Computes the squared norms, `[n]`, in one reduction."""
        return tf.reduce_sum(tf.square(self._flat()), axis=1)

    def gram(self) -> tf.Tensor:
        """Computes the inner products, `[n, n]`, as the product of the stack with its transpose."""
        return _inner_products(self._flat())

    def combine(self, coefficients: "Coefficients") -> tf.Tensor:
        """Computes the weighted sum as the product of the coefficients and the stack."""
        c = coefficients.vector(self.tasks)
        return tf.reshape(tf.linalg.matvec(self._flat(), c, transpose_a=True), self.shape)

    def _flat(self) -> tf.Tensor:
        return tf.reshape(self._stack, [len(self.tasks), self.shape.num_elements()])


class Coefficients:
    """The coefficients of a weighted sum over tasks, split into scalars once for all variables.

    Args:
        numbers: The coefficients, `[T]` float32.
    """

    def __init__(self, numbers: tf.Tensor) -> None:
        self._numbers, self._num_tasks, self._cache = numbers, numbers.shape[0], GraphCache()

    def vector(self, tasks: Sequence[int]) -> tf.Tensor:
        """Returns the coefficients of n tasks as one tensor, `[n]` float32.

        Args:
            tasks: The indices of the tasks.
        """
        return self._numbers if len(tasks) == self._num_tasks else tf.stack(self.each(tasks))

    def each(self, tasks: Sequence[int]) -> list[tf.Tensor]:
        """Returns the coefficients of n tasks as n scalars.

        Args:
            tasks: The indices of the tasks.
        """
        scalars = self._cache.get("scalars", lambda: tf.unstack(self._numbers, self._num_tasks))
        return [scalars[task] for task in tasks]


def _inner_products(rows: tf.Tensor) -> tf.Tensor:
    """Computes `R Rᵀ` for few long rows, `[n, N]` → `[n, n]`.

    The product is computed in blocks of four or five rows, padded with zeros if the rows are long. For two or three
    long rows, XLA on a CPU adds the products one after the other, which is up to four times as slow and has a hundred
    times the rounding error.
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
    """Computes the sum of squares of each of n tensors.

    Args:
        tensors: The n tensors, all of one shape.

    Returns:
        The sums, `[n]`.
    """
    if tensors[0].shape.num_elements() > _SMALL:
        return tf.stack([sum_of_squares(tensor) for tensor in tensors])
    return _sums(tf.square(tf.stack(tensors)), first_axes=1)


def sum_of_squares(tensor: tf.Tensor) -> tf.Tensor:
    """Computes the sum of squares of all elements of a tensor.

    Args:
        tensor: The tensor.

    Returns:
        The sum, a scalar.
    """
    return _sums(tf.square(tensor), first_axes=0)


def _sums(tensor: tf.Tensor, first_axes: int) -> tf.Tensor:
    """Sums non-negative numbers over all axes after the first `first_axes`.

    XLA adds the elements of a whole tensor one after the other, but the rows of a matrix side by side, which is seven
    times as fast. The condition is never met for squares; it keeps XLA from fusing the two sums into one.
    """
    columns = tf.reduce_sum(tensor, axis=list(range(first_axes, tensor.shape.rank - 1)))
    return tf.reduce_sum(tf.where(columns < 0, 0.0, columns), axis=-1) if columns.shape.rank > first_axes else columns
