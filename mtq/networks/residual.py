"""Residual connections around layers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable("mtq")
class Residual(keras.layers.Layer):
    """Adds the output of a stack of layers to its input: `x + f(x)`.

    Unlike a functional model, it can be created before the shape of its input is known. The joint forward pass calls
    its layers one by one, for all tasks at once where they are row-wise.

    Args:
        layers: The layers of f, whose output has the shape of the input.

    Example:
        >>> import keras
        >>> import mtq
        >>> block = mtq.networks.Residual([keras.layers.Dense(8, "relu"), keras.layers.Dense(8)])
        >>> backbone = keras.Sequential([keras.layers.Dense(8, "relu"), block], name="backbone")

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, equation 1.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = keras.Sequential(list(layers), name="branch")
        self.add = keras.layers.Add(name="add", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers.

        Raises:
            ValueError: The output of the layers does not have the shape of the input.
        """
        self.branch.build(input_shape)
        outputs = tuple(self.branch.compute_output_shape(input_shape))
        if outputs[1:] != tuple(input_shape)[1:]:
            raise ValueError(
                f"layers of Residual '{self.name}' must return the shape of their input, {tuple(input_shape)[1:]}. "
                f"Received: layers that return {outputs[1:]}. Give the last layer as many units or filters as the "
                "input has, and convolutions padding='same'."
            )
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes `x + f(x)`."""
        return self.add([inputs, self.branch(inputs, training=training)])

    def call_layers(self, inputs: Any, call_layer: Callable[[keras.layers.Layer, Any], Any]) -> Any:
        """Computes `x + f(x)` with another way to call a layer; used by the joint forward pass.

        Args:
            inputs: The inputs, in the form that `call_layer` takes.
            call_layer: A function of a layer and its inputs.
        """
        return call_layer(self.add, [inputs, call_layer(self.branch, inputs)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.branch.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Residual":
        """Creates the layer from its config."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
