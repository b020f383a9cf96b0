"""`Update`: computes the new weights, the target network and the logs from the tasks' gradients."""

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
from mtq.trainer.task_metrics import OF_EVALUATION
from mtq.weightings import Weighting

Quantities = Mapping[str, tf.Tensor]
_AUXILIARY = ("regularization_loss", "regularization_gradient_norm")


class Update:
    """The update of a network from the tasks' gradients.

    With several replicas, the weighting and the aggregator receive each task's gradient on the whole batch, averaged
    over the replicas. If the aggregator's coefficients do not depend on the gradients, each replica first combines its
    own gradients, so that one gradient is reduced instead of T.

    Args:
        variables: The trainable variables of the network.
        tasks: The tasks.
        optimizer: The optimizer.
        weighting: The weighting of the tasks' losses.
        aggregator: The aggregator of the tasks' gradients.
        task_weights: The variable that holds the tasks' weights, `[T]` float32.
        updates: The variable that counts the updates, an int64 scalar.
        update_target: The function that is called after each update to update the target network.
        metrics: The metrics that receive the quantities of each update.
        gradient_log: The log of the tasks' gradients; None for no log.
    """

    def __init__(
        self,
        *,
        variables: Sequence[keras.Variable],
        tasks: TaskSet,
        optimizer: keras.optimizers.Optimizer,
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
        """Updates the weights, the target network and the metrics.

        Args:
            gradients: The tasks' gradients on this replica's rows.
            quantities: The quantities `loss`, `q_mean` and `td_error` of the same rows, `[T]` float32 each.
            auxiliary: The losses of the same rows that belong to no task, and their gradient, which is added to the
                aggregated gradient; None if there are no such losses.

        Returns:
            The logs of the whole run.
        """
        auxiliary_gradients: list[tf.Tensor | None] = [None] * len(gradients.parts)
        if auxiliary is not None:
            auxiliary_gradients = auxiliary.gradients
            quantities = {**quantities, **dict(zip(_AUXILIARY, auxiliary[:2], strict=True))}
        if num_replicas() == 1:
            return self._learn(gradients, auxiliary_gradients, quantities)
        if self._is_linear():
            return self._combine_and_reduce(gradients, auxiliary_gradients, quantities)
        parts = [part for part in gradients.parts if part is not None]
        return on_means(
            lambda means, copies, reduced: self._learn(
                _with_copies(gradients, copies), reduced or auxiliary_gradients, means
            ),
            dict(quantities),
            [part.copies() for part in parts],
            [] if auxiliary is None else _without_none(auxiliary_gradients, self._variables),
        )

    def bytes_reduced(
        self, paths: TaskPaths, strategy: tf.distribute.Strategy, has_auxiliary: bool = False, further: int = 0
    ) -> int:
        """Returns the number of bytes that one replica contributes to all-reduces at each update, 4 or 8 per number.

        Args:
            paths: The tasks' paths through the network.
            strategy: The strategy of the run. With a single replica the result is 0.
            has_auxiliary: Whether the network has losses that belong to no task.
            further: The number of numbers that `QLearning.num_reduced` returns.
        """
        if strategy.num_replicas_in_sync == 1:
            return 0
        num_tasks = len(self._tasks)
        copies = [len(tasks) for tasks in paths.tasks_of(self._variables)]
        quantities = len(OF_EVALUATION) * num_tasks  # the loss, the mean value and the mean error
        regularized = 0
        if has_auxiliary:
            quantities += len(_AUXILIARY)
            regularized = 1 - self._is_linear()  # its gradient is reduced separately, or as part of the update
        if self._is_linear():
            copies = [min(number, 1) for number in copies]
            quantities += num_tasks + (num_tasks if self._weighting.needs_losses else 0)
        gradients = sum(
            math.prod(v.shape) * (number + regularized) for v, number in zip(self._variables, copies, strict=True)
        )
        return reduced_dtype(strategy).size * (gradients + quantities + further)

    def _is_linear(self) -> bool:
        """Returns whether the update on the whole batch is the mean of the replicas' own updates."""
        needs_gradients = self._gradient_log is not None or self._weighting.needs_gradients
        return self._aggregator.is_linear and not needs_gradients

    def _learn(
        self, gradients: TaskGradients, auxiliary_gradients: Sequence[tf.Tensor | None], quantities: Quantities
    ) -> dict[str, tf.Tensor]:
        before = self._stored_values()
        if is_dynamic(self._optimizer):
            weights, update = self._combine_where_finite(gradients, quantities)
        else:
            weights, update = self._combine(gradients, quantities["loss"])
        norms = gradients.norms()  # after combining, which may already have computed them
        return self._apply(
            added(update, auxiliary_gradients), {**quantities, "gradient_norm": norms, "weight": weights}, before
        )

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
        """Combines the gradients if they are finite. With a loss scale, overflows are routine; solvers fail on them."""
        variables = self._variables

        def combine() -> tuple[tf.Tensor, list[tf.Tensor]]:
            weights, update = self._combine(gradients, quantities["loss"])
            return weights, _without_none(update, variables)

        def skip() -> tuple[tf.Tensor, list[tf.Tensor]]:
            return tf.convert_to_tensor(self._task_weights), _without_none([None] * len(variables), variables)

        are_finite = _are_finite([gradients.norms(), *_auxiliary_quantities(quantities)])
        result: tuple[tf.Tensor, list[tf.Tensor]] = tf.cond(are_finite, combine, skip)
        return result

    def _combine_and_reduce(
        self, gradients: TaskGradients, auxiliary_gradients: Sequence[tf.Tensor | None], quantities: Quantities
    ) -> dict[str, tf.Tensor]:
        before = self._stored_values()
        # The norm of the mean would cost a reduction of T gradients. The mean of the norms is at least as large.
        quantities = {**quantities, "gradient_norm": gradients.norms()}
        if self._weighting.needs_losses:
            weights = on_means(lambda losses: self._weigh(losses, None), quantities["loss"])
        else:
            weights = self._weigh(quantities["loss"], None)
        update = added(self._aggregator(gradients, weights, self._updates), auxiliary_gradients)
        places = [place for place, gradient in enumerate(update) if gradient is not None]

        def apply(means: Quantities, reduced: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
            by_place = dict(zip(places, reduced, strict=True))
            return self._apply(
                [by_place.get(place) for place in range(len(update))], {**means, "weight": weights}, before
            )

        return on_means(apply, quantities, [update[place] for place in places])

    @property
    def _updates(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._num_updates)

    def _weigh(self, losses: tf.Tensor, gradients: TaskGradients | None) -> tf.Tensor:
        weights = tf.convert_to_tensor(self._task_weights)
        return self._weighting(weights, losses, self._updates, self._tasks, gradients)

    def _stored_values(self) -> list[tuple[Any, tf.Tensor]]:
        """Returns the variables that the weighting, the aggregator and the log may change, with their current values.

        The list is empty unless updates can be skipped, which only a `LossScaleOptimizer` does.
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
        """Applies the update, and updates the target network and the metrics.

        If the update is skipped, the variables in `before` are restored. With several replicas, this method is called
        once for all of them.
        """
        optimizer, variables = self._optimizer, self._variables
        gradients, are_finite = _without_none(update, variables), _are_finite(_watched(quantities))
        scale = loss_scale_of(optimizer)
        if scale is not None and is_dynamic(optimizer):
            are_finite = are_finite & _are_finite(gradients)
            quantities = {**_without_overflow(quantities, scale, are_finite), "loss_scale": scale}
            apply_where_finite(optimizer, gradients, variables, are_finite)
            _restore_unless(are_finite, before)
        else:
            gradients = [tf.math.multiply_no_nan(g, tf.cast(are_finite, g.dtype)) for g in gradients]
            apply_reduced(optimizer, gradients if scale is None else scaled(gradients, scale), variables)
        self._num_updates.assign_add(1)
        self._update_target()
        logs: dict[str, tf.Tensor] = {}
        for metric in self._logged:
            metric.update_state(quantities)
            logs.update(metric.result())
        return logs


def _with_copies(gradients: TaskGradients, copies: Sequence[Sequence[tf.Tensor]]) -> TaskGradients:
    """Returns the tasks' gradients with other values, given for each part that is not None, in their order."""
    remaining = iter(copies)
    parts = [
        None if part is None else SeparateGradients(dict(zip(part.tasks, next(remaining), strict=True)))
        for part in gradients.parts
    ]
    return TaskGradients.of_parts(parts, gradients.num_tasks)


def _without_none(update: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """Returns the update with zeros for the variables on which no loss depends."""
    return [tf.zeros_like(v.value) if g is None else g for g, v in zip(update, variables, strict=True)]


def _watched(quantities: Quantities) -> list[tf.Tensor]:
    """Returns the quantities that must all be finite for an update to be applied to the network.

    `fit` stops at the end of the execution, and the logs then still show which task was not finite.
    """
    task_quantities = tf.stack([quantities[name] for name in ("loss", "gradient_norm", "weight")])
    return [task_quantities, *_auxiliary_quantities(quantities)]


def _auxiliary_quantities(quantities: Quantities) -> list[tf.Tensor]:
    return [quantities[name] for name in _AUXILIARY if name in quantities]


def _restore_unless(are_finite: tf.Tensor, before: Sequence[tuple[Any, tf.Tensor]]) -> None:
    """Restores the earlier values of variables, unless the update was finite."""

    def restore() -> tf.Tensor:
        for variable, value in before:
            variable.assign(value)
        return tf.constant(False)

    if before:
        tf.cond(are_finite, lambda: tf.constant(True), restore)


def _are_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    flags = [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors]
    return flags[0] if len(flags) == 1 else tf.reduce_all(tf.stack(flags))


def _without_overflow(quantities: Quantities, scale: tf.Tensor, are_finite: tf.Tensor) -> Quantities:
    """Returns the quantities to log, with gradient norms of zero if the update is skipped because of its loss scale."""
    losses = [quantities[name] for name in ("loss", "weight", "regularization_loss") if name in quantities]
    skipped = is_to_be_skipped(scale, _are_finite(losses), are_finite)
    norms = {name: q for name, q in quantities.items() if name.endswith("gradient_norm")}
    return {**quantities, **{name: tf.where(skipped, tf.zeros_like(q), q) for name, q in norms.items()}}
