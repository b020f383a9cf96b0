"""Heads: what turns the backbone's features into one task's action values."""

from collections.abc import Sequence
from typing import Any

import keras

from mtq.checks import integer
from mtq.tasks.task import Task


@keras.saving.register_keras_serializable("mtq")
class DuelingHead(keras.layers.Layer):
    """Action values as a state value and advantages: `q = v + a − mean(a)`.

    Takes features `[B, F]`, gives action values `[B, num_actions]`.

    Args:
        num_actions: How many there are.

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
        """Makes the two layers' weights."""
        self.value.build(input_shape)
        self.advantage.build(input_shape)
        super().build(input_shape)

    def call(self, features: Any) -> Any:
        """The action values."""
        advantage = self.advantage(features)
        return self.value(features) + advantage - keras.ops.mean(advantage, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """`[B, num_actions]`."""
        return (*input_shape[:-1], self.num_actions)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "num_actions": self.num_actions}


def head_layers(task: Task, hidden: Sequence[int], dueling: bool) -> list[keras.layers.Layer]:
    """The layers of one task's head.

    Args:
        task: The task.
        hidden: The widths of dense layers before the last one.
        dueling: Whether the last layer is a `DuelingHead`.

    Returns:
        Layers to be applied in order to the backbone's features.
    """
    layers: list[keras.layers.Layer] = [
        keras.layers.Dense(units, activation="relu", name=f"{task.name}_head_{i}") for i, units in enumerate(hidden)
    ]
    name = f"{task.name}_q_values"
    last = DuelingHead if dueling else keras.layers.Dense
    return [*layers, last(task.num_actions, name=name, dtype="float32")]  # whatever the precision of the rest
