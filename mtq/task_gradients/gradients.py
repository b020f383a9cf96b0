"""The gradients of all tasks, and the quantities that aggregators compute from them."""

from collections.abc import Sequence

import tensorflow as tf

from mtq.joint.graph_cache import GraphCache
from mtq.task_gradients.variable_gradients import (
    Coefficients,
    SeparateGradients,
    VariableGradients,
    sum_of_squares,
    sums_of_squares,
)

_SMALL, _LARGE = 1e-30, 1e30


class TaskGradients:
    """The gradients of T tasks' losses with respect to the variables of one network.

    Methods take a scope: `"all"` for all variables, or `"shared"` for the variables of more than one task.

    Args:
        gradients: A list for each task, with one entry per variable of the network: the gradient, or None if the task's
            loss does not depend on the variable.

    Attributes:
        parts: The gradients with respect to each variable; None if no task's loss depends on the variable.
        num_tasks: The number of tasks, T.
        shared: Whether each variable belongs to more than one task. With a single task, all its variables count as
            shared.

    Raises:
        ValueError: There are no tasks, or the lists differ in length.
    """

    def __init__(self, gradients: Sequence[Sequence[tf.Tensor | None]]) -> None:
        if not gradients or len({len(of_task) for of_task in gradients}) != 1:
            raise ValueError(
                "gradients must hold one list per task, with one entry per variable. "
                f"Received: lists of lengths {[len(of_task) for of_task in gradients]}."
            )
        columns = [
            {task: gradient for task, gradient in enumerate(column) if gradient is not None}
            for column in zip(*gradients, strict=True)
        ]
        self._set([SeparateGradients(column) if column else None for column in columns], len(gradients))

    @classmethod
    def of_parts(cls, parts: Sequence[VariableGradients | None], num_tasks: int) -> "TaskGradients":
        """Creates an object from gradients in any form.

        Args:
            parts: The gradients with respect to each variable of the network; None if no task's loss depends on the
                variable.
            num_tasks: The number of tasks, T.

        Returns:
            The gradients of all tasks.
        """
        gradients = cls.__new__(cls)
        gradients._set(parts, num_tasks)
        return gradients

    def _set(self, parts: Sequence[VariableGradients | None], num_tasks: int) -> None:
        self.parts, self.num_tasks = list(parts), num_tasks
        self.shared = [part is not None and (len(part.tasks) > 1 or num_tasks == 1) for part in self.parts]
        self._cache = GraphCache()

    @property
    def by_task(self) -> list[list[tf.Tensor | None]]:
        """The gradients as tensors: a list for each task, with one entry per variable. They take T times the memory."""
        return self._cache.get("by_task", self._by_task)

    def matrix(self, scope: str = "shared") -> tf.Tensor:
        """Returns the gradients as rows of one matrix, which takes T times the memory.

        Args:
            scope: The variables to include, `"all"` or `"shared"`.

        Returns:
            The matrix, `[T, N]` float32, where N is the number of elements of the variables. It is zero where a task's
            loss does not depend on a variable.
        """
        rows = []
        for gradients in self._chosen(scope):
            shapes = [part.shape for part in self._in_scope(scope)]
            flat = [
                tf.zeros(shape.num_elements()) if gradient is None else tf.reshape(gradient, [-1])
                for gradient, shape in zip(gradients, shapes, strict=True)
            ]
            rows.append(tf.concat(flat, axis=0) if flat else tf.zeros(0))
        return tf.stack(rows)

    def norms(self, scope: str = "all") -> tf.Tensor:
        """Computes the norm of each task's gradient, `‖g_i‖₂`.

        Args:
            scope: The variables to include, `"all"` or `"shared"`.

        Returns:
            The norms, `[T]` float32.
        """
        return self._cache.get(("norms", scope), lambda: self._norms(scope))

    def cosines(self, scope: str = "all") -> tf.Tensor:
        """Computes the cosines of the angles between the tasks' gradients.

        Norms and cosines together represent the Gram matrix, `⟨g_i, g_j⟩ = ‖g_i‖ ‖g_j‖ cos_ij`, whose entries may be
        too small or too large for float32. If the cosines are computed before the norms, both come from one
        computation.

        Args:
            scope: The variables to include, `"all"` or `"shared"`.

        Returns:
            The cosines, `[T, T]` float32; 0 for a gradient of zero.
        """
        return self._cache.get(("cosines", scope), lambda: self._cosines(scope))

    def combine(self, coefficients: tf.Tensor, private_coefficients: tf.Tensor | None = None) -> list[tf.Tensor | None]:
        """Computes a weighted sum of the tasks' gradients, `Σ_i c_i g_i`.

        Args:
            coefficients: The coefficients c, `[T]` float32.
            private_coefficients: The coefficients for variables of a single task, `[T]` float32; by default the same.

        Returns:
            One gradient per variable; None for a variable on which no task's loss depends.
        """
        shared_c = private_c = Coefficients(coefficients)
        if private_coefficients is not None:
            private_c = Coefficients(private_coefficients)
        return [
            None if part is None else part.combine(shared_c if is_shared else private_c)
            for part, is_shared in zip(self.parts, self.shared, strict=True)
        ]

    def _by_task(self) -> list[list[tf.Tensor | None]]:
        lists: list[list[tf.Tensor | None]] = [[None] * len(self.parts) for _ in range(self.num_tasks)]
        for place, part in enumerate(self.parts):
            if part is not None:
                for task, copy in zip(part.tasks, part.copies(), strict=True):
                    lists[task][place] = copy
        return lists

    def _norms(self, scope: str) -> tf.Tensor:
        has_gram = self._cache.has(("gram", scope))
        squares = tf.linalg.diag_part(self._gram(scope)) if has_gram else self._squares(scope)
        return tf.cond(
            _is_safe(squares),
            lambda: tf.sqrt(squares),
            lambda: tf.stack([_length(gradient) for gradient in self._chosen(scope)]),
        )

    def _cosines(self, scope: str) -> tf.Tensor:
        gram = self._gram(scope)
        squares = tf.linalg.diag_part(gram)

        def divided() -> tf.Tensor:
            norms = tf.sqrt(squares)
            return gram / (norms[:, None] * norms[None, :])

        return tf.cond(
            _is_safe(squares),
            divided,
            lambda: TaskGradients([_unit(gradient) for gradient in self._chosen(scope)])._compute_gram("all"),
        )

    def _gram(self, scope: str) -> tf.Tensor:
        return self._cache.get(("gram", scope), lambda: self._compute_gram(scope))

    def _squares(self, scope: str) -> tf.Tensor:
        parts = self._in_scope(scope)
        shared_squares = tf.zeros([self.num_tasks])
        if self._cache.has(("gram", "shared")):  # computed for an aggregator
            parts = [part for part in parts if len(part.tasks) == 1]
            shared_squares = tf.linalg.diag_part(self._gram("shared"))
        return shared_squares + self._sum_of_squares(parts)

    def _compute_gram(self, scope: str) -> tf.Tensor:
        shared = [part for part in self._in_scope(scope) if len(part.tasks) > 1]
        private = [part for part in self._in_scope(scope) if len(part.tasks) == 1]
        gram = tf.linalg.diag(self._sum_of_squares(private))
        for part in shared:
            if len(part.tasks) == self.num_tasks:
                gram += part.gram()
            else:
                places = [[i, j] for i in part.tasks for j in part.tasks]
                gram += tf.scatter_nd(places, tf.reshape(part.gram(), [-1]), [self.num_tasks, self.num_tasks])
        return gram

    def _sum_of_squares(self, parts: Sequence[VariableGradients]) -> tf.Tensor:
        """Sums each task's squared gradients over the variables on which its loss depends, `[T]` float32."""
        squares_of_parts = [part.squares() for part in parts if len(part.tasks) > 1]
        tasks_of_parts = [part.tasks for part in parts if len(part.tasks) > 1]
        # Private variables of the same shape, such as the heads of tasks with the same number of actions.
        same_shape: dict[tuple[int, ...], list[VariableGradients]] = {}
        for part in parts:
            if len(part.tasks) == 1:
                same_shape.setdefault(tuple(part.shape), []).append(part)
        for group in same_shape.values():
            squares_of_parts.append(sums_of_squares([part.copies()[0] for part in group]))
            tasks_of_parts.append(tuple(part.tasks[0] for part in group))
        all_tasks, totals = tuple(range(self.num_tasks)), [tf.zeros([self.num_tasks])]
        for tasks, squares in zip(tasks_of_parts, squares_of_parts, strict=True):
            if tasks != all_tasks:
                squares = tf.math.unsorted_segment_sum(squares, tasks, self.num_tasks)
            totals.append(squares)
        return tf.add_n(totals)

    def _chosen(self, scope: str) -> list[list[tf.Tensor | None]]:
        """Returns `by_task` restricted to the variables in scope."""
        chosen = {id(part) for part in self._in_scope(scope)}
        places = [place for place, part in enumerate(self.parts) if id(part) in chosen]
        return [[gradients[place] for place in places] for gradients in self.by_task]

    def _in_scope(self, scope: str) -> list[VariableGradients]:
        return [
            part
            for part, is_shared in zip(self.parts, self.shared, strict=True)
            if part is not None and part.shape.num_elements() != 0 and (is_shared or scope == "all")
        ]


def _is_safe(squares: tf.Tensor) -> tf.Tensor:
    """Whether squared norms are within the range of float32. If not, gradients are scaled before they are squared."""
    return tf.reduce_all((squares > _SMALL) & (squares < _LARGE))


def _length(gradient: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """The Euclidean norm of all tensors together, scaled by the largest entry, whose square may exceed float32."""
    tensors = [tensor for tensor in gradient if tensor is not None]
    if not tensors:
        return tf.constant(0.0)
    largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(tensor)) for tensor in tensors]))
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    return largest * tf.sqrt(tf.add_n([sum_of_squares(tensor / scale) for tensor in tensors]))


def _unit(gradient: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """The gradient scaled to norm 1, or zeros if it is zero."""
    length = _length(gradient)
    return [None if tensor is None else tf.math.divide_no_nan(tensor, length) for tensor in gradient]
