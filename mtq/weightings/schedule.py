"""Scheduled weights."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from mtq.checks import check_keras
from mtq.storage.deserialization import deserialize
from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet, check_weight
from mtq.weightings.weighting import Weighting, check_mapping, check_task_weights


@keras.saving.register_keras_serializable("mtq")
class Schedule(Weighting):
    """Weights that are functions of the number of updates.

    Args:
        weights: The weight of each task, by name: a `keras.optimizers.schedules.LearningRateSchedule` or a number.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, weights: Mapping[str, float | LearningRateSchedule]) -> None:
        check_mapping("weights of Schedule", weights)
        self.weights = {name: _schedule_or_number(name, weight) for name, weight in weights.items()}

    def initial_weights(self, tasks: TaskSet) -> list[float]:
        """Returns the numbers, and 1 for each schedule; other values of `task_weights` multiply the schedule."""
        return [1.0 if isinstance(self.weights[name], LearningRateSchedule) else self.weights[name] for name in tasks]

    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """Returns `task_weights` times the values of the schedules at this update."""
        values = [
            weight(updates) if isinstance(weight, LearningRateSchedule) else 1.0
            for weight in (self.weights[name] for name in tasks)
        ]
        scheduled = tf.stack([tf.cast(value, tf.float32) for value in values])
        # The mean over an epoch would hide a negative weight. A NaN shows, and stops the run with the task's name.
        return task_weights * tf.where(scheduled >= 0, scheduled, math.nan)

    def check(self, tasks: TaskSet) -> None:
        """Checks that there is one weight for each task."""
        check_task_weights(self.weights, tasks)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {
            "weights": {
                name: keras.saving.serialize_keras_object(weight)
                if isinstance(weight, LearningRateSchedule)
                else weight
                for name, weight in self.weights.items()
            }
        }


def _schedule_or_number(name: str, weight: Any) -> float | LearningRateSchedule:
    if isinstance(weight, Mapping):
        return deserialize("schedule of a weight", weight, LearningRateSchedule)
    if not isinstance(weight, LearningRateSchedule):
        check_keras(f"loss_weights of task '{name}'", weight)
        check_weight(name, weight)
        weight = float(weight)
    return weight
