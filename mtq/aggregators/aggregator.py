"""What all aggregators have in common."""

import abc
from typing import Any

import tensorflow as tf

from mtq.pluggable import Stateful
from mtq.task_gradients import TaskGradients

LARGEST_COEFFICIENT = 3e38  # that float32 holds; an infinite one would make NaN of a gradient's zeros

_SCOPES = ("all", "shared")


class Aggregator(Stateful, abc.ABC):
    """Turns the gradients of T tasks into one update. Serializable by Keras; usable by name in `compile`.

    Attributes:
        is_linear: Whether the update is `Σ_i c_i g_i` with coefficients that do not depend on the gradients, so that
            replicas may combine their own and reduce the result.

    Args:
        scope: `"all"` aggregates each task's gradient as a whole. `"shared"` aggregates over the variables of more than
            one task; the variables that a task has alone get its own weighted gradient `w_i g_i`.

    Raises:
        ValueError: The scope is neither.
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
        """Aggregates.

        Args:
            gradients: Of the T tasks' unweighted losses.
            weights: Task weights, `[T]` float32.
            updates: How many updates were made before; whatever is random is drawn from it.

        Returns:
            A gradient per variable, None for a variable that no task touches.
        """

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {"scope": self.scope}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Aggregator":
        """Makes the aggregator again."""
        return cls(**config)


class WeightedSum(Aggregator):
    """An aggregator whose update is a weighted sum `Σ_i c_i g_i`; a subclass gives the coefficients."""

    @abc.abstractmethod
    def coefficients(self, gradients: TaskGradients, weights: tf.Tensor) -> tf.Tensor:
        """The coefficients c, `[T]` float32."""

    def __call__(
        self, gradients: TaskGradients, weights: tf.Tensor, updates: tf.Tensor | int = 0
    ) -> list[tf.Tensor | None]:
        """Aggregates."""
        c = self.coefficients(gradients, weights)
        return gradients.combine(c, private_coefficients=weights if self.scope == "shared" else None)
