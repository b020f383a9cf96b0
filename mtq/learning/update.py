"""`Update`: from the tasks' gradients to the next weights, the target network and the logs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.aggregators import Aggregator
from mtq.distribution.optimizer import apply_reduced
from mtq.distribution.replicas import num_replicas, on_means, reduced_dtype
from mtq.networks.paths import TaskPaths
from mtq.task_gradients import TaskGradients
from mtq.task_gradients.log import GradientLog
from mtq.task_gradients.variable_gradients import SeparateGradients
from mtq.tasks import TaskSet
from mtq.trainer.auxiliary_losses import Auxiliary, added
from mtq.trainer.loss_scale import apply_where_finite, is_dynamic, is_to_be_skipped, loss_scale_of, scaled
from mtq.weightings import Weighting

Quantities = Mapping[str, tf.Tensor]
_OF_AUXILIARY = ("regularization_loss", "regularization_gradient_norm")


class Update:
    """One update of a network: from the tasks' gradients to the next weights.

    With several replicas, weighting and aggregator receive what is reduced over them: each task's gradient of the whole
    batch. An aggregator whose coefficients do not depend on the gradients combines each replica's own gradients first,
    so that one gradient is reduced in the place of T.

    Args:
        variables: The trainable variables of the network.
        tasks: The tasks.
        optimizer: The optimizer.
        weighting: The weighting.
        aggregator: The aggregator.
        task_weights: The variable with the weights of the tasks, `[T]`, as of the last update.
        updates: The variable that counts updates.
        update_target: A function that is called after each update, and updates the target network.
        metrics: The metrics that receive the quantities of each update.
        gradient_log: The log of the tasks' gradients; None if nobody reads it.
    """

    def __init__(
        self,
        *,
        variables: Sequence[keras.Variable],
        tasks: TaskSet,
        optimizer: Any,
        weighting: Weighting,
        aggregator: Aggregator,
        task_weights: keras.Variable,
        updates: keras.Variable,
        update_target: Callable[[], None],
        metrics: Sequence[Any],
        gradient_log: GradientLog | None = None,
    ) -> None:
        self._variables, self._tasks, self._optimizer = list(variables), tasks, optimizer
        self._weighting, self._aggregator, self._gradient_log = weighting, aggregator, gradient_log
        self._task_weights, self._num_updates = task_weights, updates
        self._update_target, self._logged = update_target, list(metrics)

    def __call__(
        self, gradients: TaskGradients, quantities: Quantities, auxiliary: Auxiliary | None = None
    ) -> dict[str, tf.Tensor]:
        """Makes it.

        Args:
            gradients: Of this replica's rows.
            quantities: `loss`, `q_mean` and `td_error`, `[T]` each, of the same.
            auxiliary: The losses of the same batch that belong to no task, and their gradient, which is added to the
                aggregated one; None if there are none.

        Returns:
            The logs, of the whole run.
        """
        others: list[tf.Tensor | None] = [None] * len(gradients.parts)
        if auxiliary is not None:
            others = auxiliary.gradients
            quantities = {**quantities, **dict(zip(_OF_AUXILIARY, auxiliary[:2], strict=True))}
        if num_replicas() == 1:
            return self._learn(gradients, others, quantities)
        if self._is_linear():
            return self._combine_and_reduce(gradients, others, quantities)
        parts = [part for part in gradients.parts if part is not None]
        return on_means(
            lambda means, copies, found: self._learn(_with_copies(gradients, copies), found or others, means),
            dict(quantities),
            [part.copies() for part in parts],
            [] if auxiliary is None else _without_none(others, self._variables),
        )

    def bytes_reduced(self, paths: TaskPaths, strategy: tf.distribute.Strategy, has_auxiliary: bool = False) -> int:
        """Returns the number of bytes that one replica sends to all-reduces at each update, 4 or 8 per number.

        Args:
            paths: The tasks' paths through the network.
            strategy: The strategy of the run; with a single replica the number is 0.
            has_auxiliary: Whether there are losses that belong to no task.
        """
        if strategy.num_replicas_in_sync == 1:
            return 0
        num_tasks = len(self._tasks)
        copies = [len(tasks) for tasks in paths.tasks_of(self._variables)]
        quantities = 3 * num_tasks  # the loss, the mean value, and the mean error
        regularized = 0
        if has_auxiliary:
            quantities += len(_OF_AUXILIARY)
            regularized = 1 - self._is_linear()  # its gradient is reduced by itself, or as a part of the update
        if self._is_linear():
            copies = [min(number, 1) for number in copies]
            quantities += num_tasks + (num_tasks if self._weighting.needs_losses else 0)
        gradients = sum(
            math.prod(v.shape) * (number + regularized) for v, number in zip(self._variables, copies, strict=True)
        )
        return reduced_dtype(strategy).size * (gradients + quantities)

    def _is_linear(self) -> bool:
        """Whether the update of the whole batch is the mean of the replicas' own updates."""
        needs_gradients = self._gradient_log is not None or self._weighting.needs_gradients
        return self._aggregator.is_linear and not needs_gradients

    def _learn(
        self, gradients: TaskGradients, others: Sequence[tf.Tensor | None], quantities: Quantities
    ) -> dict[str, tf.Tensor]:
        before = self._remembered()
        if is_dynamic(self._optimizer):
            weights, update = self._combine_where_finite(gradients, quantities)
        else:
            weights, update = self._combine(gradients, quantities["loss"])
        norms = gradients.norms()  # after it, which may have had them computed
        return self._apply(added(update, others), {**quantities, "gradient_norm": norms, "weight": weights}, before)

    def _combine(self, gradients: TaskGradients, losses: tf.Tensor) -> tuple[tf.Tensor, Sequence[tf.Tensor | None]]:
        updates = self._updates
        weights = self._weigh(losses, gradients)
        update = self._aggregator(gradients, weights, updates)
        if self._gradient_log is not None:
            self._gradient_log.look(gradients, weights, updates)
        return weights, update

    def _combine_where_finite(
        self, gradients: TaskGradients, quantities: Quantities
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor | None]]:
        """Combines only finite gradients: overflows are routine with a loss scale, and solvers fail on them."""
        variables = self._variables

        def combine() -> tuple[tf.Tensor, list[tf.Tensor]]:
            weights, update = self._combine(gradients, quantities["loss"])
            return weights, _without_none(update, variables)

        def skip() -> tuple[tf.Tensor, list[tf.Tensor]]:
            return tf.convert_to_tensor(self._task_weights), _without_none([None] * len(variables), variables)

        finite = _are_finite([gradients.norms(), *_of_auxiliary(quantities)])
        found: tuple[tf.Tensor, list[tf.Tensor]] = tf.cond(finite, combine, skip)
        return found

    def _combine_and_reduce(
        self, gradients: TaskGradients, others: Sequence[tf.Tensor | None], quantities: Quantities
    ) -> dict[str, tf.Tensor]:
        before = self._remembered()
        # The norm of a mean is not to be had for the price; the mean of the norms is at least as large.
        quantities = {**quantities, "gradient_norm": gradients.norms()}
        if self._weighting.needs_losses:
            weights = on_means(lambda losses: self._weigh(losses, None), quantities["loss"])
        else:
            weights = self._weigh(quantities["loss"], None)
        update = added(self._aggregator(gradients, weights, self._updates), others)
        places = [place for place, gradient in enumerate(update) if gradient is not None]

        def apply(means: Quantities, reduced: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
            whole = dict(zip(places, reduced, strict=True))
            return self._apply([whole.get(place) for place in range(len(update))], {**means, "weight": weights}, before)

        return on_means(apply, quantities, [update[place] for place in places])

    @property
    def _updates(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._num_updates)

    def _weigh(self, losses: tf.Tensor, gradients: TaskGradients | None) -> tf.Tensor:
        weights = tf.convert_to_tensor(self._task_weights)
        return self._weighting(weights, losses, self._updates, self._tasks, gradients)

    def _remembered(self) -> list[tuple[Any, tf.Tensor]]:
        """The variables that weighing and combining may change, with their values of now.

        Empty if no update is ever skipped, which only a `LossScaleOptimizer` does.
        """
        if not is_dynamic(self._optimizer):
            return []
        variables = [*self._weighting.variables.values(), *self._aggregator.variables.values()]
        if self._gradient_log is not None:
            variables += self._gradient_log.variables
        return [(variable, tf.identity(tf.convert_to_tensor(variable))) for variable in variables]

    def _apply(
        self, update: Sequence[tf.Tensor | None], quantities: Quantities, before: Sequence[tuple[Any, tf.Tensor]]
    ) -> dict[str, tf.Tensor]:
        """Makes the update; if it is skipped, restores what was remembered before its gradients were combined.

        With several replicas it is called once for all of them.
        """
        optimizer, variables = self._optimizer, self._variables
        whole, finite = _without_none(update, variables), _are_finite(_watched(quantities))
        scale = loss_scale_of(optimizer)
        if scale is not None and is_dynamic(optimizer):
            finite = finite & _are_finite(whole)
            quantities = {**_without_overflow(quantities, scale, finite), "loss_scale": scale}
            apply_where_finite(optimizer, whole, variables, finite)
            _restore_unless(finite, before)
        else:
            whole = [tf.math.multiply_no_nan(g, tf.cast(finite, g.dtype)) for g in whole]
            apply_reduced(optimizer, whole if scale is None else scaled(whole, scale), variables)
        self._num_updates.assign_add(1)
        self._update_target()
        logs: dict[str, tf.Tensor] = {}
        for metric in self._logged:
            metric.update_state(quantities)
            logs.update(metric.result())
        return logs


def _with_copies(gradients: TaskGradients, copies: Sequence[Sequence[tf.Tensor]]) -> TaskGradients:
    """The same tasks' gradients with other numbers, in the order of the parts that there are."""
    left = iter(copies)
    parts = [
        None if part is None else SeparateGradients(dict(zip(part.tasks, next(left), strict=True)))
        for part in gradients.parts
    ]
    return TaskGradients.of_parts(parts, gradients.num_tasks)


def _without_none(update: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """The update, with zeros for variables on which no loss depends."""
    return [tf.zeros_like(v.value) if g is None else g for g, v in zip(update, variables, strict=True)]


def _watched(quantities: Quantities) -> list[tf.Tensor]:
    """The quantities that must all be finite for an update to be applied to the network.

    `fit` stops at the end of the execution, and can then still tell which task it was.
    """
    of_tasks = tf.stack([quantities[name] for name in ("loss", "gradient_norm", "weight")])
    return [of_tasks, *_of_auxiliary(quantities)]


def _of_auxiliary(quantities: Quantities) -> list[tf.Tensor]:
    return [quantities[name] for name in _OF_AUXILIARY if name in quantities]


def _restore_unless(finite: tf.Tensor, before: Sequence[tuple[Any, tf.Tensor]]) -> None:
    """Assigns variables the values that they had before, unless an update was finite."""

    def restore() -> tf.Tensor:
        for variable, value in before:
            variable.assign(value)
        return tf.constant(False)

    if before:
        tf.cond(finite, lambda: tf.constant(True), restore)


def _are_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    finite = [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors]
    return finite[0] if len(finite) == 1 else tf.reduce_all(tf.stack(finite))


def _without_overflow(quantities: Quantities, scale: tf.Tensor, finite: tf.Tensor) -> Quantities:
    """The quantities to log, with gradient norms of zero if the update is skipped because of its loss scale."""
    losses = [quantities[name] for name in ("loss", "weight", "regularization_loss") if name in quantities]
    skipped = is_to_be_skipped(scale, _are_finite(losses), finite)
    norms = {name: q for name, q in quantities.items() if name.endswith("gradient_norm")}
    return {**quantities, **{name: tf.where(skipped, tf.zeros_like(q), q) for name, q in norms.items()}}
