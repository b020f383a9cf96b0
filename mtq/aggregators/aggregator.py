"""The base classes of aggregators."""

import abc
from typing import Any

import tensorflow as tf

from mtq.pluggable import Stateful
from mtq.task_gradients import TaskGradients

LARGEST_COEFFICIENT = 3e38  # in float32; an infinite coefficient would turn the zeros of a gradient into NaN

_SCOPES = ("all", "shared")


class Aggregator(Stateful, abc.ABC):
    """The base class of aggregators, which combine the gradients of T tasks into one update.

    Aggregators are serializable by Keras. `MultiTaskDQN.compile` takes them as objects or by name.

    Attributes:
        is_linear: Whether the update is `Σ_i c_i g_i` with coefficients that do not depend on the gradients. Each
            replica may then combine its own gradients, and only the result is reduced.

    Args:
        scope: The variables over which gradients are aggregated. `"all"` aggregates each task's gradient as a whole.
            `"shared"` aggregates over the variables of more than one task, and the variables of a single task get its
            weighted gradient `w_i g_i`.

    Raises:
        ValueError: The scope is neither `"all"` nor `"shared"`.
    """

    is_linear = False

    def __init__(self, scope: str = "all") -> None:
        if scope not in _SCOPES:
            raise ValueError(f"scope of the aggregator must be one of {_SCOPES}. Received: {scope!r}.")
        self.scope = scope

    @abc.abstractmethod
    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Combines the tasks' gradients into one update.

        Args:
            gradients: The gradients of the T tasks' unweighted losses.
            weights: The task weights, `[T]` float32.
            updates: The number of updates so far, an int64 scalar. Random numbers are a function of it.

        Returns:
            One gradient per variable; None for a variable on which no task's loss depends.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {"scope": self.scope}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Aggregator":
        """Creates an aggregator from its config."""
        return cls(**config)


class WeightedSum(Aggregator):
    """An aggregator whose update is a weighted sum `Σ_i c_i g_i`, with coefficients computed by a subclass."""

    @abc.abstractmethod
    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """Computes the coefficients of the weighted sum.

        Args:
            gradients: The gradients of the T tasks' unweighted losses.
            weights: The task weights, `[T]` float32.

        Returns:
            The coefficients c, `[T]` float32.
        """

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Returns the weighted sum of the gradients."""
        c = self.coefficients(gradients, weights)
        return gradients.combine(c, private_coefficients=weights if self.scope == "shared" else None)
