"""One gradient per task, and what aggregators ask of them. T is the number of tasks."""

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
    """The gradients of T tasks' losses with respect to one network's variables.

    A scope says which variables are meant: `"all"`, or `"shared"` for those of more than one task.

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
        columns = [
            {task: gradient for task, gradient in enumerate(column) if gradient is not None}
            for column in zip(*gradients, strict=True)
        ]
        self._set([SeparateGradients(column) if column else None for column in columns], len(gradients))

    @classmethod
    def of_parts(cls, parts: Sequence[VariableGradients | None], num_tasks: int) -> "TaskGradients":
        """From gradients in any form.

        Args:
            parts: For each variable of the network; None where no task's loss touches it.
            num_tasks: T.
        """
        gradients = cls.__new__(cls)
        gradients._set(parts, num_tasks)
        return gradients

    def _set(self, parts: Sequence[VariableGradients | None], num_tasks: int) -> None:
        self.parts, self.num_tasks = list(parts), num_tasks
        self.shared = [part is not None and (len(part.tasks) > 1 or num_tasks == 1) for part in self.parts]
        self._kept = GraphCache()

    @property
    def by_task(self) -> list[list[tf.Tensor | None]]:
        """The gradients themselves: for each task a list with an entry per variable. They cost T times the memory."""
        return self._kept.get("by_task", self._by_task)

    def matrix(self, scope: str = "shared") -> tf.Tensor:
        """The gradients as rows of one matrix, `[T, numbers]` float32; it costs T times the memory.

        Args:
            scope: Over which variables; where a task does not touch one, there are zeros.
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
        """Each task's gradient norm, `‖g_i‖₂`, `[T]` float32.

        Args:
            scope: Over which variables.
        """
        return self._kept.get(("norms", scope), lambda: self._norms(scope))

    def cosines(self, scope: str = "all") -> tf.Tensor:
        """The cosines of the angles between the tasks' gradients, `[T, T]` float32; 0 where one of them is zero.

        With the norms they stand for the Gram matrix, `⟨g_i, g_j⟩ = ‖g_i‖ ‖g_j‖ cos_ij`, whose entries may be too small
        or too large for float32. Asked for before the norms, both are computed at once.

        Args:
            scope: Over which variables.
        """
        return self._kept.get(("cosines", scope), lambda: self._cosines(scope))

    def combine(self, coefficients: tf.Tensor, private_coefficients: tf.Tensor | None = None) -> list[tf.Tensor | None]:
        """A weighted sum of the tasks' gradients, `Σ_i c_i g_i`.

        Args:
            coefficients: c, `[T]` float32.
            private_coefficients: Coefficients `[T]` for the variables that a task has alone; by default the same.

        Returns:
            A gradient per variable; None for a variable that no task's loss touches.
        """
        of_shared = of_private = Coefficients(coefficients)
        if private_coefficients is not None:
            of_private = Coefficients(private_coefficients)
        return [
            None if part is None else part.combine(of_shared if is_shared else of_private)
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
        has_gram = self._kept.has(("gram", scope))
        squares = tf.linalg.diag_part(self._gram(scope)) if has_gram else self._squares(scope)
        return tf.cond(
            _is_safe(squares), lambda: tf.sqrt(squares), lambda: tf.stack([_length(own) for own in self._chosen(scope)])
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
            lambda: TaskGradients([_unit(own) for own in self._chosen(scope)])._compute_gram("all"),
        )

    def _gram(self, scope: str) -> tf.Tensor:
        return self._kept.get(("gram", scope), lambda: self._compute_gram(scope))

    def _squares(self, scope: str) -> tf.Tensor:
        parts = self._in_scope(scope)
        known = tf.zeros([self.num_tasks])
        if self._kept.has(("gram", "shared")):  # computed for an aggregator
            parts = [part for part in parts if len(part.tasks) == 1]
            known = tf.linalg.diag_part(self._gram("shared"))
        return known + self._sum_of_squares(parts)

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
        """Each task's sum over the parts that it has a share in, `[T]`."""
        of_all = [part.squares() for part in parts if len(part.tasks) > 1]
        tasks_of = [part.tasks for part in parts if len(part.tasks) > 1]
        alike: dict[
            tuple[int, ...], list[VariableGradients]
        ] = {}  # such as the heads of tasks with equally many actions
        for part in parts:
            if len(part.tasks) == 1:
                alike.setdefault(tuple(part.shape), []).append(part)
        for of_one in alike.values():
            of_all.append(sums_of_squares([part.copies()[0] for part in of_one]))
            tasks_of.append(tuple(part.tasks[0] for part in of_one))
        everyone, totals = tuple(range(self.num_tasks)), [tf.zeros([self.num_tasks])]
        for tasks, squares in zip(tasks_of, of_all, strict=True):
            if tasks != everyone:
                squares = tf.math.unsorted_segment_sum(squares, tasks, self.num_tasks)
            totals.append(squares)
        return tf.add_n(totals)

    def _chosen(self, scope: str) -> list[list[tf.Tensor | None]]:
        """`by_task`, without the variables out of scope."""
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
    """Squares of very small and very large gradients leave float32; then, and only then, copies are scaled first."""
    return tf.reduce_all((squares > _SMALL) & (squares < _LARGE))


def _length(gradient: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """The Euclidean norm over all tensors together, by way of the largest entry, for its square may leave float32."""
    given = [part for part in gradient if part is not None]
    if not given:
        return tf.constant(0.0)
    largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(part)) for part in given]))
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    return largest * tf.sqrt(tf.add_n([sum_of_squares(part / scale) for part in given]))


def _unit(gradient: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """The gradient scaled to length 1, or 0."""
    length = _length(gradient)
    return [None if part is None else tf.math.divide_no_nan(part, length) for part in gradient]
