"""The metrics that log the training of each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

OF_EVALUATION = ("loss", "q_mean", "td_error")  # means over the rows of a batch
QUANTITIES = (*OF_EVALUATION, "gradient_norm", "weight")


class TaskMetrics(keras.metrics.Metric):
    """The means over an epoch of several quantities of T tasks, whose sums are stored in one variable.

    The results are named `"<task>/<quantity>"`. `"loss"` is the mean over updates of the weighted sum of the tasks'
    losses, plus the network's regularization loss if it has one.

    Args:
        tasks: The names of the tasks.
    """

    def __init__(self, tasks: Sequence[str], **kwargs: Any) -> None:
        super().__init__(name="task_metrics", **kwargs)
        self.tasks = tuple(tasks)
        self.sums = _variable((len(QUANTITIES), len(self.tasks)), "sums")
        self.total = _variable((), "total")
        self.count = _variable((), "count")

    def update_state(self, quantities: Mapping[str, tf.Tensor]) -> None:  # type: ignore[override]
        """Adds the quantities of one update.

        Args:
            quantities: The quantities by name and the tasks' `weight`s, `[T]` float32 each, and the
                `regularization_loss`, a float32 scalar, if there is one.
        """
        self.sums.assign_add(tf.stack([quantities[quantity] for quantity in QUANTITIES]))
        total = tf.reduce_sum(quantities["loss"] * quantities["weight"])
        if "regularization_loss" in quantities:
            total += quantities["regularization_loss"]
        self.total.assign_add(total)
        self.count.assign_add(1.0)

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means, `{name: float32 scalar}`."""
        means = tf.math.divide_no_nan(tf.convert_to_tensor(self.sums), self.count)
        loss = tf.math.divide_no_nan(tf.convert_to_tensor(self.total), self.count)
        return {"loss": loss, **_by_task(means, self.tasks, QUANTITIES)}


class EvaluationMetrics(keras.metrics.Metric):
    """The means of several quantities of T tasks over the rows of the batches of an evaluation.

    The results are named `"<task>/<quantity>"`. `"loss"` is the sum of the tasks' losses times their weights.

    Args:
        tasks: The names of the tasks.
    """

    def __init__(self, tasks: Sequence[str], **kwargs: Any) -> None:
        super().__init__(name="evaluation_metrics", **kwargs)
        self.tasks = tuple(tasks)
        self.sums = _variable((len(OF_EVALUATION), len(self.tasks)), "sums")
        self.num_rows = _variable((len(self.tasks),), "num_rows")
        self.task_weights = _variable((len(self.tasks),), "task_weights")

    def update_state(self, quantities: Mapping[str, tf.Tensor], num_rows: tf.Tensor, task_weights: tf.Tensor) -> None:  # type: ignore[override]
        """Adds the quantities of one batch.

        Args:
            quantities: The means over the rows of each task's batch by name, `[T]` float32 each.
            num_rows: The number of rows of each task, `[T]` int32.
            task_weights: The weights of the tasks, `[T]` float32.
        """
        num_rows = tf.cast(num_rows, tf.float32)
        self.sums.assign_add(num_rows * tf.stack([quantities[quantity] for quantity in OF_EVALUATION]))
        self.num_rows.assign_add(num_rows)
        self.task_weights.assign(task_weights)

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means, `{name: float32 scalar}`."""
        means = tf.math.divide_no_nan(tf.convert_to_tensor(self.sums), tf.convert_to_tensor(self.num_rows))
        loss = tf.reduce_sum(means[OF_EVALUATION.index("loss")] * tf.convert_to_tensor(self.task_weights))
        return {"loss": loss, **_by_task(means, self.tasks, OF_EVALUATION)}


class UpdateMetrics(keras.metrics.Metric):
    """The means over an epoch of scalar quantities that only some models have.

    Args:
        quantities: The names of the quantities, under which they are logged.
    """

    def __init__(self, quantities: Sequence[str], **kwargs: Any) -> None:
        super().__init__(name="update_metrics", **kwargs)
        self.quantities = tuple(quantities)
        self.sums = _variable((len(self.quantities),), "sums")
        self.count = _variable((), "count")

    def update_state(self, quantities: Mapping[str, tf.Tensor]) -> None:  # type: ignore[override]
        """Adds the quantities of one update.

        Args:
            quantities: The values, `{name: float32 scalar}`; other names are ignored.
        """
        self.sums.assign_add(tf.stack([quantities[quantity] for quantity in self.quantities]))
        self.count.assign_add(1.0)

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means, `{name: float32 scalar}`."""
        means = tf.math.divide_no_nan(tf.convert_to_tensor(self.sums), self.count)
        return dict(zip(self.quantities, tf.unstack(means), strict=True))


def clipped_name(task: str) -> str:
    """Returns the name under which the share of a task's targets that lie outside its head's limits is logged.

    Args:
        task: The name of the task.
    """
    return f"{task}/clipped_targets"


def _by_task(means: tf.Tensor, tasks: Sequence[str], quantities: Sequence[str]) -> dict[str, tf.Tensor]:
    """Returns means `[Q, T]` by the name `"<task>/<quantity>"`."""
    names = [f"{task}/{quantity}" for quantity in quantities for task in tasks]
    return dict(zip(names, tf.unstack(tf.reshape(means, [len(names)])), strict=True))


def _variable(shape: tuple[int, ...], name: str) -> keras.Variable:
    """Creates a variable that is not summed over replicas when read: unlike Keras's metrics, it gets global values."""
    return keras.Variable(
        "zeros", shape=shape, dtype="float32", name=name, trainable=False, aggregation="only_first_replica"
    )
