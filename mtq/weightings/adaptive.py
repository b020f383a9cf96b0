"""The base class of weightings that adapt to the losses, the gradients or the returns, and their helpers."""

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
    """The base class of weightings that compute their weights at every update.

    The computed weights are multiplied by the model's variable `task_weights`, which expresses the user's preferences.
    """

    @abc.abstractmethod
    def weigh(self, losses: tf.Tensor, updates: tf.Tensor, gradients: Any) -> tf.Tensor:
        """Computes the weights, before they are multiplied by `task_weights`.

        Args:
            losses: The losses of the tasks, `[T]` float32, 0 or more.
            updates: The number of updates so far, an int64 scalar.
            gradients: The `TaskGradients` of the unweighted losses; may be None if `needs_gradients` is False.

        Returns:
            The weights, `[T]` float32, 0 or more.
        """

    def __call__(
        self,
        task_weights: tf.Tensor,
        losses: tf.Tensor,
        updates: tf.Tensor,
        tasks: TaskSet,
        gradients: TaskGradients | None = None,
    ) -> tf.Tensor:
        """Returns `task_weights` times the computed weights, without a gradient."""
        if gradients is None and self.needs_gradients:
            raise ValueError(f"gradients must be given to {type(self).__name__}. Received: None.")
        return task_weights * tf.stop_gradient(self.weigh(losses, updates, gradients))


def assign_if_finite(variable: keras.Variable, value: Any) -> None:
    """Assigns a value to a variable unless the value is not finite, so that such a loss does not corrupt the state.

    Args:
        variable: The variable.
        value: The new value. If any of its elements is not finite, the variable keeps its old value.
    """
    value = tf.cast(value, variable.dtype)
    is_finite = tf.reduce_all(tf.math.is_finite(value))
    variable.assign(tf.where(is_finite, value, tf.convert_to_tensor(variable)))


def log_losses(losses: tf.Tensor) -> tf.Tensor:
    """Computes `log L_i`, with losses clipped from below so that the logarithm of 0 is finite.

    Args:
        losses: The losses of the tasks, `[T]` float32.

    Returns:
        The logarithms, `[T]` float32.
    """
    return tf.math.log(tf.maximum(losses, SMALLEST_LOSS))


def check_positive(name: str, argument: str, value: float) -> float:
    """Checks that a setting is a positive number.

    Args:
        name: The name of the class, for the error message.
        argument: The name of the argument, for the error message.
        value: The value of the argument.

    Returns:
        The value as a float.

    Raises:
        ValueError: The value is not a positive finite number.
    """
    return real(f"{argument} of {name}", value, above=0)
