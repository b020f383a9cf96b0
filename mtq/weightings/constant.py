"""Constant weights."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet, check_weight
from mtq.weightings.weighting import Weighting, check_mapping, check_task_weights


@keras.saving.register_keras_serializable("mtq")
class Constant(Weighting):
    """Weights that are the values of the model's variable `task_weights` (equation 3 in README.md).

    They stay constant until the user assigns others, for example by `MultiTaskDQN.set_task_weights`.

    Args:
        weights: The initial weights by task; by default the tasks' own weights.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        if weights is not None:
            check_mapping("weights of Constant", weights)
            for name, weight in weights.items():
                check_weight(name, weight)
        self.weights = None if weights is None else {name: float(weight) for name, weight in weights.items()}

    def initial_weights(self, tasks: TaskSet) -> list[float]:
        """Returns the initial weights in the order of the tasks."""
        if self.weights is None:
            return super().initial_weights(tasks)
        return [self.weights[name] for name in tasks]

    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """Returns `task_weights`."""
        return task_weights

    def check(self, tasks: TaskSet) -> None:
        """Checks that there is one weight for each task."""
        if self.weights is not None:
            check_task_weights(self.weights, tasks)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"weights": self.weights}
