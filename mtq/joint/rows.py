"""Rows of several tasks, joined along the batch or apart, whichever was asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache


class Rows:
    """A tensor's rows of several tasks. Joining and splitting happen when they are needed, once.

    Args:
        tasks: The numbers of the tasks, in the order of their rows.
        parts: The rows of each task, `[B_i, …]`.
        joined: The rows of all, `[Σ_i B_i, …]`, in the place of parts.
        sizes: B_i of each, to go with it.
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
        self._kept = GraphCache()

    @property
    def pieces(self) -> list[tf.Tensor]:
        """The rows as they lie: of each task, or in one tensor."""
        return self._given

    @property
    def joined(self) -> tf.Tensor:
        """`[Σ_i B_i, …]`."""
        return self._given[0] if len(self._given) == 1 else self._kept.get("joined", lambda: tf.concat(self._given, 0))

    @property
    def parts(self) -> list[tf.Tensor]:
        """`[B_i, …]` of each task."""
        if len(self._given) == len(self.tasks):
            return self._given
        return self._kept.get("parts", lambda: tf.split(self._given[0], self.sizes))

    @property
    def has_equal_sizes(self) -> bool:
        """Whether all tasks have equally many rows, known while the graph is made."""
        return all(isinstance(size, int) for size in self.sizes) and len(set(self.sizes)) == 1

    @property
    def stacked(self) -> tf.Tensor:
        """`[T, B, …]`, where the sizes are equal."""
        return tf.reshape(self.joined, [len(self.tasks), self.sizes[0], *self.joined.shape[1:]])

    def sums(self, joined: tf.Tensor) -> tf.Tensor:
        """Sums `[T, …]` over each task's rows of a tensor `[Σ_i B_i, …]`."""
        rows = self.like(joined)
        if self.has_equal_sizes:
            return tf.reduce_sum(rows.stacked, axis=1)
        return tf.stack([tf.reduce_sum(part, axis=0) for part in rows.parts])

    def repeated(self, numbers: tf.Tensor) -> tf.Tensor:
        """Each task's number for every row of it: `[T]` → `[Σ_i B_i]`."""
        if self.has_equal_sizes:
            return tf.reshape(tf.repeat(numbers, self.sizes[0]), [-1])
        return tf.concat([tf.fill([size], n) for size, n in zip(self.sizes, tf.unstack(numbers), strict=True)], axis=0)

    def of_pieces(self, pieces: Sequence[tf.Tensor]) -> "Rows":
        """Other numbers for the same rows, lying as these do."""
        return self.like(pieces[0]) if self.is_joined else Rows(self.tasks, pieces)

    def map(self, function: Callable[[tf.Tensor], tf.Tensor], join: bool | None = None) -> "Rows":
        """A function of every row, computed for all rows together or for each task's, or as they lie."""
        lying = self if join is None else (self.like(self.joined) if join else Rows(self.tasks, self.parts))
        return lying.of_pieces([function(piece) for piece in lying.pieces])

    def like(self, joined: tf.Tensor) -> "Rows":
        """Other numbers for the same rows."""
        return Rows(self.tasks, joined=joined, sizes=self.sizes)


def gathered(places: Sequence[tuple[Rows, int]]) -> Rows:
    """The rows of several tasks, each found in one slot of some rows; nothing is moved if all are one's, in order."""
    rows = places[0][0]
    if all(other is rows for other, _ in places) and [slot for _, slot in places] == list(range(len(rows.tasks))):
        return rows
    return Rows([r.tasks[slot] for r, slot in places], [r.parts[slot] for r, slot in places])


def _size(part: tf.Tensor) -> Any:
    return part.shape[0] if part.shape[0] is not None else tf.shape(part)[0]
