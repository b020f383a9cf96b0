"""Weights from how far the tasks' returns have come."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet
from mtq.weightings.adaptive import Adaptive, check_positive

_NONE_YET = np.finfo(np.float32).min  # not NaN, which tf.debugging.enable_check_numerics would report


@keras.saving.register_keras_serializable("mtq")
class ReturnProgress(Adaptive):
    """More weight for tasks whose **returns** lag behind: temporal-difference losses do not tell which these are.

    With the progress `p_i = (R_i − b_i) / (reference_i − b_i)`, cut off at 0 and 1, of the mean training return R of
    the last epoch, the reference that the task gives (`Task.reference_return`) and the first return b that was seen,
    `w = T · softmax((1 − p) / temperature)`. Until every task has finished an episode all weights are one.

    `fit` needs `mtq.callbacks.TrainingReturns`, from which it learns the returns. A method of mtq's own, in the spirit
    of dynamic weight average.

    Args:
        temperature: The higher, the more alike the weights: at 0.5 a task that has not begun to learn has e² = 7.4
            times the weight of a solved one.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, temperature: float = 0.5) -> None:
        temperature = check_positive("ReturnProgress", "temperature", temperature)
        self.temperature = temperature

    def check(self, tasks: TaskSet) -> None:
        """Raises a ValueError if a task has no reference return."""
        for name, task in tasks.items():
            if task.reference_return is None:
                raise ValueError(
                    f"reference_return must be given for every task whose weight follows its return. Received: none "
                    f"for task '{name}'. Pass mtq.Task(…, reference_return=…)."
                )
        self._tasks = tasks

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Makes the progress, and the first returns."""
        self.progress = self.add_variable("progress", tf.zeros(num_tasks))
        self.first_returns = self.add_variable("first_returns", tf.fill([num_tasks], _NONE_YET))

    def observe_returns(self, returns: Mapping[str, float]) -> None:
        """Takes note of the tasks' mean returns; called after each epoch.

        Args:
            returns: By task; NaN where there is none yet.
        """
        now = np.array([returns[name] for name in self._tasks], np.float32)
        first = tf.convert_to_tensor(self.first_returns).numpy()
        first = np.where(np.isfinite(first) & (first != _NONE_YET), first, now)
        self.first_returns.assign(np.where(np.isfinite(first), first, _NONE_YET))
        if np.isfinite(now).all():
            references = np.array([task.reference_return for task in self._tasks.values()], np.float32)
            way = references - first
            progress = np.where(way > 0, (now - first) / np.where(way > 0, way, np.float32(1)), np.float32(1))
            self.progress.assign(np.clip(progress, 0.0, 1.0))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """From the progress."""
        return losses.shape[0] * tf.nn.softmax((1.0 - self.progress) / self.temperature)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"temperature": self.temperature}
