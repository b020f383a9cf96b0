"""What all weightings have in common."""

import abc
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import CHECKED_STEPS, check_keras
from mtq.pluggable import Stateful
from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet, check_weight


class Weighting(Stateful, abc.ABC):
    """Gives the weights of T tasks at every update. Serializable by Keras.

    Attributes:
        needs_losses: Whether the weights depend on the losses, which must then be those of all replicas' rows.
        needs_gradients: Whether they depend on the gradients; if not, there may be none.
    """

    needs_losses = True
    needs_gradients = True

    def initial_weights(self, tasks: TaskSet) -> list[float]:
        """What the model's variable `task_weights` starts from, in the order of the tasks."""
        return [task.weight for task in tasks.values()]

    @abc.abstractmethod
    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """The weights for one update.

        Args:
            task_weights: The model's variable, `[T]` float32, which users may change while training.
            losses: Of the tasks, `[T]` float32.
            updates: How many updates were made before, int64 scalar.
            tasks: The tasks.
            gradients: Of the unweighted losses.

        Returns:
            `[T]` float32.
        """

    def check(self, tasks: TaskSet) -> None:
        """Raises a ValueError if the weighting does not fit the tasks."""

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Weighting":
        """Makes the weighting again."""
        return cls(**config)


def check_mapping(role: str, weights: Any) -> None:
    """Raises a ValueError unless this is a dict.

    Args:
        role: The name of the argument, for the message.
        weights: The value received.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(f"{role} must be a dict from tasks to weights. Received: {weights!r}.")


def check_task_weights(
    weights: Mapping[str, Any], tasks: TaskSet, partial: bool = False, role: str = "loss_weights"
) -> None:
    """Raises a ValueError unless there is one good weight for each task.

    Args:
        weights: A number, or a schedule, for each task's name.
        tasks: The tasks.
        partial: Whether tasks may be left out.
        role: What the weights are called in a message.
    """
    check_mapping(role, weights)
    for name in weights:
        if name not in tasks:
            raise ValueError(
                f"{role} has an entry for '{name}', which is not a task. Received: {dict(weights)}. "
                f"The tasks are {list(tasks)}."
            )
    missing = [name for name in tasks if name not in weights]
    if missing and not partial:
        raise ValueError(
            f"{role} has no entry for task '{missing[0]}'. Received: {dict(weights)}. "
            "Give every task of the TaskSet a weight, or pass none."
        )
    for name, weight in weights.items():
        check_keras(f"{role} of task '{name}'", weight)
        if isinstance(weight, keras.optimizers.schedules.LearningRateSchedule) and not partial:
            for update in CHECKED_STEPS:
                check_weight(name, float(weight(update)))
        else:
            check_weight(name, weight)
