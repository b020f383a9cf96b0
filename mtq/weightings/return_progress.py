"""Weights from the progress of the tasks' returns."""

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
    """Gives more weight to tasks whose **returns** lag behind, which temporal-difference losses do not reveal.

    The weights are `w = T · softmax((1 − p) / temperature)` with the progress
    `p_i = (R_i − b_i) / (reference_i − b_i)`, clipped to [0, 1]. R is the mean training return of the last epoch, the
    reference is `Task.reference_return`, and b is the first return that was observed. Until every task has finished an
    episode, all weights are one.

    `fit` needs the callback `mtq.callbacks.TrainingReturns`, which reports the returns. The method is mtq's own, in the
    spirit of dynamic weight average.

    Args:
        temperature: The temperature of the softmax. Higher temperatures make the weights more equal. At 0.5, a task
            without progress has e² = 7.4 times the weight of a solved task.
    """

    needs_losses = False
    needs_gradients = False

    def __init__(self, temperature: float = 0.5) -> None:
        temperature = check_positive("ReturnProgress", "temperature", temperature)
        self.temperature = temperature

    def check(self, tasks: TaskSet) -> None:
        """Checks that every task has a reference return."""
        for name, task in tasks.items():
            if task.reference_return is None:
                raise ValueError(
                    "reference_return must be given for every task under ReturnProgress. Received: None for task "
                    f"'{name}'. Pass mtq.Task(…, reference_return=…)."
                )
        self._tasks = tasks

    def build(self, num_tasks: int, num_shared: int) -> None:
        """Creates the progress and the first returns."""
        self.progress = self.add_variable("progress", tf.zeros(num_tasks))
        self.first_returns = self.add_variable("first_returns", tf.fill([num_tasks], _NONE_YET))

    def observe_returns(self, returns: Mapping[str, float]) -> None:
        """Updates the progress; called after each epoch.

        Args:
            returns: The mean return of each task in the epoch, by name; NaN if no episode has ended yet.
        """
        latest = np.array([returns[name] for name in self._tasks], np.float32)
        first = tf.convert_to_tensor(self.first_returns).numpy()
        first = np.where(np.isfinite(first) & (first != _NONE_YET), first, latest)
        self.first_returns.assign(np.where(np.isfinite(first), first, _NONE_YET))
        if np.isfinite(latest).all():
            references = np.array([task.reference_return for task in self._tasks.values()], np.float32)
            span = references - first
            progress = np.where(span > 0, (latest - first) / np.where(span > 0, span, np.float32(1)), np.float32(1))
            self.progress.assign(np.clip(progress, 0.0, 1.0))

    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: TaskGradients) -> tf.Tensor:
        """Computes the weights from the progress."""
        return losses.shape[0] * tf.nn.softmax((1.0 - self.progress) / self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"temperature": self.temperature}
