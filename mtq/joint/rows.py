"""The rows of several tasks in a batch, joined or separate."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache


class Rows:
    """The rows of several tasks, as one tensor or as one tensor per task.

    The rows are joined or split when this is first needed, and only once.

    Args:
        tasks: The indices of the tasks, in the order of their rows.
        parts: The rows of each task, `[B_i, …]`.
        joined: The rows of all tasks, `[Σ_i B_i, …]`, in place of `parts`.
        sizes: The number of rows of each task, B_i; required with `joined`.

    Attributes:
        tasks: The indices of the tasks, in the order of their rows.
        is_joined: Whether the rows were given as one tensor.
        sizes: The number of rows of each task, B_i, integers or scalar tensors.
    """

    def __init__(
        self,
        tasks: Sequence[int],
        parts: Sequence[tf.Tensor] | None = None,
        joined: tf.Tensor | None = None,
        sizes: Sequence[Any] | None = None,
    ) -> None:
        self.tasks, self.is_joined = tuple(tasks), parts is None
        self.sizes: list[Any] = [_size(part) for part in parts] if sizes is None and parts else list(sizes or [])
        self._given: list[tf.Tensor] = [joined] if parts is None else list(parts)
        self._cache = GraphCache()

    @property
    def pieces(self) -> list[tf.Tensor]:
        """The tensors as they were given: one for each task, or one for all."""
        return self._given

    @property
    def joined(self) -> tf.Tensor:
        """The rows of all tasks as one tensor, `[Σ_i B_i, …]`."""
        return self._given[0] if len(self._given) == 1 else self._cache.get("joined", lambda: tf.concat(self._given, 0))

    @property
    def parts(self) -> list[tf.Tensor]:
        """The rows of each task, `[B_i, …]`."""
        if len(self._given) == len(self.tasks):
            return self._given
        return self._cache.get("parts", lambda: tf.split(self._given[0], self.sizes))

    @property
    def has_equal_sizes(self) -> bool:
        """Whether all tasks have the same static number of rows."""
        return all(isinstance(size, int) for size in self.sizes) and len(set(self.sizes)) == 1

    @property
    def stacked(self) -> tf.Tensor:
        """The rows as one tensor `[T, B, …]`; requires equal sizes."""
        return tf.reshape(self.joined, [len(self.tasks), self.sizes[0], *self.joined.shape[1:]])

    def sums(self, joined: tf.Tensor) -> tf.Tensor:
        """Sums a tensor over each task's rows.

        Args:
            joined: A tensor with the same rows, `[Σ_i B_i, …]`.

        Returns:
            The sums, `[T, …]`.
        """
        rows = self.like(joined)
        if self.has_equal_sizes:
            return tf.reduce_sum(rows.stacked, axis=1)
        return tf.stack([tf.reduce_sum(part, axis=0) for part in rows.parts])

    def repeated(self, numbers: tf.Tensor) -> tf.Tensor:
        """Repeats each task's number for each of its rows.

        Args:
            numbers: The numbers of the tasks, `[T]`.

        Returns:
            The numbers of the rows, `[Σ_i B_i]`.
        """
        if self.has_equal_sizes:
            return tf.reshape(tf.repeat(numbers, self.sizes[0]), [-1])
        return tf.concat([tf.fill([size], n) for size, n in zip(self.sizes, tf.unstack(numbers), strict=True)], axis=0)

    def of_pieces(self, pieces: Sequence[tf.Tensor]) -> "Rows":
        """Returns an object for the same rows with other values, joined or separate as this one is.

        Args:
            pieces: The new tensors, in the form of `self.pieces`.
        """
        return self.like(pieces[0]) if self.is_joined else Rows(self.tasks, pieces)

    def map(self, function: Callable[[tf.Tensor], tf.Tensor], join: bool | None = None) -> "Rows":
        """Applies a function to the rows.

        Args:
            function: The function of a tensor.
            join: Whether the function is applied to all rows together (True), to each task's rows (False), or to the
                tensors as they were given (None).

        Returns:
            The results, in the form to which the function was applied.
        """
        rows = self if join is None else (self.like(self.joined) if join else Rows(self.tasks, self.parts))
        return rows.of_pieces([function(piece) for piece in rows.pieces])

    def like(self, joined: tf.Tensor) -> "Rows":
        """Returns an object for the same rows with other values.

        Args:
            joined: The new values, `[Σ_i B_i, …]`.
        """
        return Rows(self.tasks, joined=joined, sizes=self.sizes)


def gathered(places: Sequence[tuple[Rows, int]]) -> Rows:
    """Gathers the rows of several tasks from different objects.

    Args:
        places: The object that holds the rows of each task, and the slot of the task in it.

    Returns:
        The rows of the tasks in this order. If they are all the rows of one object in its order, that object itself.
    """
    rows = places[0][0]
    if all(other is rows for other, _ in places) and [slot for _, slot in places] == list(range(len(rows.tasks))):
        return rows
    return Rows([held.tasks[slot] for held, slot in places], [held.parts[slot] for held, slot in places])


def _size(part: tf.Tensor) -> Any:
    return part.shape[0] if part.shape[0] is not None else tf.shape(part)[0]
