"""One gradient per task, and what aggregators do with them.

Each task's gradient is kept only over the variables that its loss touches: the shared ones and its own encoder and
head. T is the number of tasks.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_SMALL, _LARGE = 1e-30, 1e30


class TaskGradients:
    """The gradients of T tasks' losses with respect to one network's variables.

    Args:
        gradients: For each task a list with an entry per variable of the network: the gradient, or None where the
            task's loss does not touch the variable.

    Raises:
        ValueError: There are no tasks, or the lists differ in length.
    """

    def __init__(self, gradients: Sequence[Sequence[tf.Tensor | None]]) -> None:
        if not gradients or len({len(of_task) for of_task in gradients}) != 1:
            raise ValueError(
                "gradients must hold one list per task, with one entry per variable. "
                f"Received: lists of lengths {[len(of_task) for of_task in gradients]}."
            )
        self.by_task = [list(of_task) for of_task in gradients]
        touched = [sum(gradient is not None for gradient in column) for column in zip(*self.by_task, strict=True)]
        self.shared = [count > 1 or len(self.by_task) == 1 for count in touched]
        self._norms: dict[tuple[str, tf.Graph | None], tf.Tensor] = {}

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.by_task)

    def norms(self, scope: str = "all") -> tf.Tensor:
        """Each task's gradient norm, `‖g_i‖₂`, `[T]` float32.

        Args:
            scope: `"all"` for the norm over all variables, `"shared"` for the variables of more than one task.
        """
        place = (scope, None if tf.executing_eagerly() else tf.compat.v1.get_default_graph())
        if place not in self._norms:
            self._norms[place] = self._compute_norms(scope)
        return self._norms[place]

    def _compute_norms(self, scope: str) -> tf.Tensor:
        in_scope = [self._in_scope(gradients, scope) for gradients in self.by_task]
        squares = tf.stack([_sum_of_squares(gradients) for gradients in in_scope])
        # Squares of very small and very large gradients leave float32; then, and only then, they are scaled first.
        is_safe = tf.reduce_all((squares > _SMALL) & (squares < _LARGE))
        return tf.cond(is_safe, lambda: tf.sqrt(squares), lambda: tf.stack([_scaled_norm(g) for g in in_scope]))

    def combine(self, coefficients: tf.Tensor, private_coefficients: tf.Tensor | None = None) -> list[tf.Tensor | None]:
        """A weighted sum of the tasks' gradients, `Σ_i c_i g_i`.

        Args:
            coefficients: c, `[T]` float32.
            private_coefficients: Coefficients `[T]` for the variables that a task has alone; by default the same.

        Returns:
            A gradient per variable; None for a variable that no task's loss touches.
        """
        private = coefficients if private_coefficients is None else private_coefficients
        shared_c, private_c = tf.unstack(coefficients, self.num_tasks), tf.unstack(private, self.num_tasks)
        combined: list[tf.Tensor | None] = []
        for column, is_shared in zip(zip(*self.by_task, strict=True), self.shared, strict=True):
            c = shared_c if is_shared else private_c
            terms = [c[i] * gradient for i, gradient in enumerate(column) if gradient is not None]
            combined.append(tf.add_n(terms) if terms else None)
        return combined

    def _in_scope(self, gradients: Sequence[tf.Tensor | None], scope: str) -> list[tf.Tensor]:
        return [
            gradient
            for gradient, is_shared in zip(gradients, self.shared, strict=True)
            if gradient is not None and gradient.shape.num_elements() != 0 and (is_shared or scope == "all")
        ]


def task_gradients(
    losses: Sequence[tf.Tensor], tapes: Sequence[tf.GradientTape], variables: Sequence[Any]
) -> TaskGradients:
    """Differentiates each task's loss on a tape of its own.

    Args:
        losses: A scalar per task.
        tapes: The tape that each was recorded on.
        variables: The network's trainable variables.

    Returns:
        The gradients; a task costs the backward pass of its own rows only.
    """
    return TaskGradients([tape.gradient(loss, list(variables)) for loss, tape in zip(losses, tapes, strict=True)])


def _sum_of_squares(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Over all tensors together.

    XLA adds up a whole tensor one number after the other, but the rows of a matrix side by side, seven times as fast;
    the condition, which is never met, keeps it from making one sum of the two.
    """
    if not gradients:
        return tf.constant(0.0)
    squares = [tf.square(gradient) for gradient in gradients]
    columns = [tf.reduce_sum(square, axis=list(range(square.shape.rank - 1))) for square in squares]
    return tf.add_n([tf.reduce_sum(tf.where(column < 0, 0.0, column)) for column in columns])


def _scaled_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """The Euclidean norm over all tensors together, by way of the largest entry."""
    if not gradients:
        return tf.constant(0.0)
    largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(gradient)) for gradient in gradients]))
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    return largest * tf.sqrt(_sum_of_squares([gradient / scale for gradient in gradients]))
