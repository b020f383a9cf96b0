"""What weightings have in common that follow the losses or the gradients."""

import abc
from typing import Any

import keras
import tensorflow as tf

from mtq.checks import real
from mtq.task_gradients import TaskGradients
from mtq.tasks.task import TaskSet
from mtq.weightings.weighting import Weighting

SMALLEST_LOSS = 1e-12


class Adaptive(Weighting):
    """A weighting that works its weights out at every update.

    They are multiplied by the model's variable `task_weights`, which stands for what the user thinks of the tasks.
    """

    @abc.abstractmethod
    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: Any) -> tf.Tensor:
        """The weights.

        Args:
            losses: Of the tasks, `[T]` float32, 0 or more.
            updates: How many updates were made before, int64 scalar.
            gradients: `TaskGradients` of the unweighted losses; None where the weighting says that it needs none.

        Returns:
            `[T]` float32, 0 or more.
        """

    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """The weights for one update."""
        if gradients is None and self.needs_gradients:
            raise ValueError(f"gradients must be given to {type(self).__name__}. Received: None.")
        return task_weights * tf.stop_gradient(self.weigh(losses, updates, gradients))


def assign_if_finite(variable: keras.Variable, value: Any) -> None:
    """Keeps a loss that is not finite out of what is remembered."""
    value = tf.cast(value, variable.dtype)
    is_finite = tf.reduce_all(tf.math.is_finite(value))
    variable.assign(tf.where(is_finite, value, tf.convert_to_tensor(variable)))


def log_losses(losses: tf.Tensor) -> tf.Tensor:
    """`log L_i`, finite where a loss is 0."""
    return tf.math.log(tf.maximum(losses, SMALLEST_LOSS))


def check_positive(name: str, argument: str, value: float) -> float:
    """Returns a setting as a float; raises a ValueError unless it is positive."""
    return real(f"{argument} of {name}", value, above=0)
