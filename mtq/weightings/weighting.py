"""The base class of weightings, and checks of task weights."""

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
    """The base class of weightings, which compute the weights of T tasks at every update.

    Weightings are serializable by Keras. `MultiTaskDQN.compile` takes them as objects or by name.

    Attributes:
        needs_losses: Whether the weights depend on the losses. If so, the losses must be means over the rows of all
            replicas.
        needs_gradients: Whether the weights depend on the gradients. If not, the gradients may be None.
    """

    needs_losses = True
    needs_gradients = True

    def initial_weights(self, tasks: TaskSet) -> list[float]:
        """Returns the initial values of the model's variable `task_weights`, in the order of the tasks.

        Args:
            tasks: The tasks.
        """
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
        """Computes the weights for one update.

        Args:
            task_weights: The value of the model's variable `task_weights`, `[T]` float32, which users may change during
                training.
            losses: The losses of the tasks, `[T]` float32.
            updates: The number of updates so far, an int64 scalar.
            tasks: The tasks.
            gradients: The gradients of the unweighted losses, or None if the weighting does not need them.

        Returns:
            The weights, `[T]` float32.
        """

    def check(self, tasks: TaskSet) -> None:
        """Checks that the weighting fits the tasks.

        Args:
            tasks: The tasks.

        Raises:
            ValueError: The weighting does not fit the tasks.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Weighting":
        """Creates a weighting from its config."""
        return cls(**config)


def check_mapping(role: str, weights: Any) -> None:
    """Checks that weights are given as a dict.

    Args:
        role: The name of the argument, for the error message.
        weights: The value of the argument.

    Raises:
        ValueError: The value is not a dict.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(f"{role} must be a dict from tasks to weights. Received: {weights!r}.")


def check_task_weights(
    weights: Mapping[str, Any], tasks: TaskSet, partial: bool = False, role: str = "loss_weights"
) -> None:
    """Checks that there is one valid weight for each task.

    Args:
        weights: The weight of each task, by name: a number or a schedule.
        tasks: The tasks.
        partial: Whether tasks may be missing.
        role: The name of the argument, for the error message.

    Raises:
        ValueError: A task has no weight, a weight has no task, or a weight is negative or not finite.
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
