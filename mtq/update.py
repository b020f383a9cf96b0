"""From the tasks' gradients to the next weights: weighing, combining, the optimizer, the target network, the logs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.optimizer import apply_reduced
from mtq.distribution.replicas import num_replicas, on_means, reduced_dtype
from mtq.target_network import hard_update, soft_update
from mtq.task_gradients import TaskGradients
from mtq.task_gradients.parts import Copies

Quantities = Mapping[str, tf.Tensor]


class Update:
    """One update of a `MultiTaskDQN`.

    With several replicas weighting and aggregator are given what is reduced over them: each task's gradient of the
    whole batch. An aggregator whose coefficients do not depend on the gradients combines each replica's own first, and
    one gradient is reduced in the place of T.

    Args:
        model: That learns.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, gradients: TaskGradients, quantities: Quantities) -> dict[str, tf.Tensor]:
        """Makes it.

        Args:
            gradients: Of this replica's rows.
            quantities: `loss`, `q_mean` and `td_error`, `[T]` each, of the same.

        Returns:
            The logs, of the whole run.
        """
        if num_replicas() == 1:
            return self._learn(gradients, quantities)
        if self._is_linear():
            return self._combine_and_reduce(gradients, quantities)
        parts = [part for part in gradients.parts if part is not None]
        return on_means(
            lambda means, copies: self._learn(_with_copies(gradients, copies), means),
            dict(quantities),
            [part.copies() for part in parts],
        )

    def bytes_reduced(self) -> int:
        """How many bytes one replica puts into all-reduces at each update, 4 or 8 a number; 0 where it is alone."""
        model = self._model
        if model.distribute_strategy.num_replicas_in_sync == 1:
            return 0
        variables, num_tasks = model.network.trainable_variables, len(model.tasks)
        copies = [len(tasks) for tasks in model.paths.tasks_of(variables)]
        quantities = 3 * num_tasks  # loss, mean value, mean error
        if self._is_linear():
            copies = [min(number, 1) for number in copies]
            quantities += num_tasks + (num_tasks if model.weighting.needs_losses else 0)
        gradients = sum(math.prod(v.shape) * number for v, number in zip(variables, copies, strict=True))
        return reduced_dtype(model.distribute_strategy).size * (gradients + quantities)

    def _is_linear(self) -> bool:
        """Whether the update of the whole batch is the mean of the replicas' own."""
        model = self._model
        looks = model.gradient_statistics is not None or model.weighting.needs_gradients
        return model.aggregator.is_linear and not looks

    def _learn(self, gradients: TaskGradients, quantities: Quantities) -> dict[str, tf.Tensor]:
        model, updates = self._model, self._updates
        weights = self._weigh(quantities["loss"], gradients)
        update = model.aggregator(gradients, weights, updates)
        norms = gradients.norms()  # after it, which may have had them computed
        if model.gradient_statistics is not None:
            model.gradient_statistics.look(gradients, weights, updates)
        return self._apply(update, {**quantities, "gradient_norm": norms, "weight": weights})

    def _combine_and_reduce(self, gradients: TaskGradients, quantities: Quantities) -> dict[str, tf.Tensor]:
        # The norm of a mean is not to be had for the price; the mean of the norms is at least as large.
        quantities = {**quantities, "gradient_norm": gradients.norms()}
        if self._model.weighting.needs_losses:
            weights = on_means(lambda losses: self._weigh(losses, None), quantities["loss"])
        else:
            weights = self._weigh(quantities["loss"], None)
        update = self._model.aggregator(gradients, weights, self._updates)
        places = [place for place, gradient in enumerate(update) if gradient is not None]

        def apply(means: Quantities, reduced: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
            whole = dict(zip(places, reduced, strict=True))
            return self._apply([whole.get(place) for place in range(len(update))], {**means, "weight": weights})

        return on_means(apply, quantities, [update[place] for place in places])

    @property
    def _updates(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._model.updates)

    def _weigh(self, losses: tf.Tensor, gradients: TaskGradients | None) -> tf.Tensor:
        model = self._model
        return model.weighting(tf.convert_to_tensor(model.task_weights), losses, self._updates, model.tasks, gradients)

    def _apply(self, update: Sequence[tf.Tensor | None], quantities: Quantities) -> dict[str, tf.Tensor]:
        """Changes what the model remembers. With several replicas it is called once for all of them."""
        model = self._model
        variables = model.network.trainable_variables
        apply_reduced(model.optimizer, _without_non_finite(update, variables, quantities), variables)
        model.updates.assign_add(1)
        update_target_network(model)
        model.task_metrics.update_state(quantities)
        return model.task_metrics.result()


def update_target_network(model: Any) -> None:
    """Copies the network where that is due, or moves the target a part of the way.

    Args:
        model: A `MultiTaskDQN` that has just been updated.
    """
    target, online = model.target_network.variables, model.network.variables
    if model.target_update_tau is not None:
        soft_update(target, online, model.target_update_tau)
    else:
        hard_update(target, online, tf.equal(model.updates.value % model.target_update_period, 0))


def _with_copies(gradients: TaskGradients, copies: Sequence[Sequence[tf.Tensor]]) -> TaskGradients:
    """The same tasks' gradients with other numbers, in the order of the parts that there are."""
    left = iter(copies)
    parts = [
        None if part is None else Copies(dict(zip(part.tasks, next(left), strict=True))) for part in gradients.parts
    ]
    return TaskGradients.of_parts(parts, gradients.num_tasks)


def _without_non_finite(
    update: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable], quantities: Quantities
) -> list[tf.Tensor]:
    """The update, or zeros if any task's loss, gradient or weight is not finite: it must not spoil the network.

    `fit` stops at the end of the execution, and can then still tell which task it was.
    """
    watched = [quantities[name] for name in ("loss", "gradient_norm", "weight")]
    finite = tf.reduce_all(tf.math.is_finite(tf.stack(watched)))
    return [
        tf.zeros_like(variable.value) if g is None else tf.math.multiply_no_nan(g, tf.cast(finite, g.dtype))
        for g, variable in zip(update, variables, strict=True)
    ]
