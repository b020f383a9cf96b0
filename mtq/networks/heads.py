"""Heads, which compute one task's action values from the backbone's features."""

from collections.abc import Sequence
from typing import Any

import keras

from mtq.checks import integer
from mtq.tasks.task import Task


@keras.saving.register_keras_serializable("mtq")
class DuelingHead(keras.layers.Layer):
    """A dueling head, which computes action values from a state value and advantages: `q = v + a − mean(a)`.

    It maps features `[B, F]` to action values `[B, num_actions]`.

    Args:
        num_actions: The number of actions.

    Reference:
        Wang et al., "Dueling Network Architectures for Deep Reinforcement Learning", ICML 2016, equation 9.
    """

    is_row_wise = True  # its output for one row depends on that row alone

    def __init__(self, num_actions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_actions = num_actions = integer("num_actions of DuelingHead", num_actions)
        self.value = keras.layers.Dense(1, name="value", dtype=self.dtype_policy)
        self.advantage = keras.layers.Dense(num_actions, name="advantage", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the two layers."""
        self.value.build(input_shape)
        self.advantage.build(input_shape)
        super().build(input_shape)

    def call(self, features: Any) -> Any:
        """Computes the action values `[B, num_actions]` of features `[B, F]`."""
        advantage = self.advantage(features)
        return self.value(features) + advantage - keras.ops.mean(advantage, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape `[B, num_actions]`."""
        return (*input_shape[:-1], self.num_actions)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "num_actions": self.num_actions}


def head_layers(task: Task, hidden: Sequence[int], dueling: bool) -> list[keras.layers.Layer]:
    """Creates the layers of one task's head.

    Args:
        task: The task.
        hidden: The widths of the hidden dense layers.
        dueling: Whether the last layer is a `DuelingHead` rather than a dense layer.

    Returns:
        The layers, to be applied in order to the backbone's features.
    """
    layers: list[keras.layers.Layer] = [
        keras.layers.Dense(units, activation="relu", name=f"{task.name}_head_{i}") for i, units in enumerate(hidden)
    ]
    name = f"{task.name}_q_values"
    last = DuelingHead if dueling else keras.layers.Dense
    return [*layers, last(task.num_actions, name=name, dtype="float32")]  # whatever the dtype of other layers
