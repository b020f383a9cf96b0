"""`DuelingHead`: an output layer that adds a state value and centered advantages."""

from typing import Any

import keras

from mtq.checks import flag, integer
from mtq.heads.noisy import NoisyDense


@keras.saving.register_keras_serializable("mtq")
class DuelingHead(keras.layers.Layer):
    """A dueling head, which computes action values from a state value and advantages: `q = v + a − mean(a)`.

    It maps features `[B, F]` to action values `[B, num_actions]`. With `num_outputs` N, each action has N numbers that
    describe the distribution of its return, and the layer maps to `[B, num_actions, N]`.

    Args:
        num_actions: The number of actions.
        num_outputs: The number N of numbers for each action; None for a single one, whose axis is left out.
        noisy: Whether the layers are `NoisyDense`.

    Reference:
        Wang et al., "Dueling Network Architectures for Deep Reinforcement Learning", ICML 2016, equation 9; for
        distributions Hessel et al., "Rainbow", AAAI 2018, section "The Integrated Agent".
    """

    is_row_wise = True  # its output for one row depends on that row alone

    def __init__(self, num_actions: int, num_outputs: int | None = None, noisy: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_actions = num_actions = integer("num_actions of DuelingHead", num_actions)
        if num_outputs is not None:
            num_outputs = integer("num_outputs of DuelingHead", num_outputs)
        self.num_outputs, self.noisy = num_outputs, flag("noisy of DuelingHead", noisy)
        dense = NoisyDense if self.noisy else keras.layers.Dense
        self.value = dense(num_outputs or 1, name="value", dtype=self.dtype_policy)
        self.advantage = dense(num_actions * (num_outputs or 1), name="advantage", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of the two layers."""
        self.value.build(input_shape)
        self.advantage.build(input_shape)
        super().build(input_shape)

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Computes the outputs `[B, num_actions]` or `[B, num_actions, N]` of features `[B, F]`."""
        options = {"training": training} if self.noisy else {}
        value, advantage = self.value(features, **options), self.advantage(features, **options)
        if self.num_outputs is None:
            return value + advantage - keras.ops.mean(advantage, axis=-1, keepdims=True)
        advantage = keras.ops.reshape(advantage, [-1, self.num_actions, self.num_outputs])
        return value[:, None, :] + advantage - keras.ops.mean(advantage, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape `[B, num_actions]` or `[B, num_actions, N]`."""
        outputs = [] if self.num_outputs is None else [self.num_outputs]
        return (*input_shape[:-1], self.num_actions, *outputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {
            **super().get_config(),
            "num_actions": self.num_actions,
            "num_outputs": self.num_outputs,
            "noisy": self.noisy,
        }
