"""Layers that scale observations to `[0, 1]` at the input of a network."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from mtq.keras_internals import flatten_layers
from mtq.tasks.spec import TaskSpec

_EXACT_IN_16_BITS = 255
_SMALL = 1 / 16  # a Rescaling by less than this expects numbers far above 1
_ON_SHAPES = (
    keras.layers.InputLayer,
    keras.layers.Identity,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
)
_ON_INTEGERS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)


@keras.saving.register_keras_serializable("mtq")
class BoundsScaling(keras.layers.Layer):
    """Scales observations from their bounds to `[0, 1]`: `(x − low) / (high − low)`.

    Args:
        low: The lower bound, a number, or one for each entry of the last axis.
        high: The upper bound, a number, or one for each entry of the last axis.
    """

    is_row_wise = True

    def __init__(self, low: Any, high: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.low, self.high = (np.asarray(bound, np.float64).tolist() for bound in (low, high))

    def call(self, observations: Any) -> Any:
        """Scales observations `[B, …]`."""
        low = keras.ops.convert_to_tensor(self.low, self.compute_dtype)
        factor = keras.ops.convert_to_tensor(1 / (np.asarray(self.high) - np.asarray(self.low)), self.compute_dtype)
        return (keras.ops.cast(observations, self.compute_dtype) - low) * factor

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the input shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("mtq")
class IntegerCast(keras.layers.Layer):
    """Casts numbers that are categories to int32, which no precision of a network changes."""

    is_row_wise = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, observations: Any) -> Any:
        """Casts observations `[B, …]`."""
        return keras.ops.cast(observations, "int32")

    def compute_output_spec(self, observations: Any) -> keras.KerasTensor:
        """Returns the shape of the input and int32."""
        return keras.KerasTensor(observations.shape, "int32")


def scaling_layer(name: str, spec: TaskSpec, layers: Sequence[Any]) -> keras.layers.Layer | None:
    """Creates the layer that scales a task's observations, or a part of them.

    Integers are not scaled if the first layer treats them as categories: an embedding, or a layer or function that
    holds one. In half precision, which would not distinguish them, they are cast to int32 instead.

    Args:
        name: The name of the task, or of the task and the part, with which the layer's name begins.
        spec: The spec of the observations.
        layers: The layers or functions that the observations pass through, in order.

    Returns:
        The layer, or None if the observations are neither scaled nor cast.

    Raises:
        ValueError: The first layer scales observations itself, so that they would be scaled twice.
    """
    first = next(_layers_by_number(layers), None)
    high, low = spec.observation_high, spec.observation_low
    categories = _category_layers(first)
    if categories:
        is_half = any(layer.compute_dtype != "float32" for layer in categories)
        return IntegerCast(name=f"{name}_categories") if is_half and spec.observation_dtype == "float32" else None
    if high is None:
        return None
    if isinstance(first, keras.layers.Layer) and _scales_again(first):
        raise ValueError(
            f"Layer '{first.name}' must take observations in [0, 1]. Received: {type(first).__name__}, which would "
            f"scale those of '{name}' again: they are scaled from [{low or 0.0}, {high}] to [0, 1] at the input. "
            "Remove the layer, or adapt it to scaled observations."
        )
    if low is None and isinstance(high, float | int) and high <= _EXACT_IN_16_BITS:
        return keras.layers.Rescaling(1 / high, name=f"{name}_scaling")
    # In float32 regardless of the network's precision, because half precision may not distinguish such numbers.
    return BoundsScaling(0.0 if low is None else low, high, name=f"{name}_scaling", dtype="float32")


def with_integer_input(layer: Any, shape: tuple[int, ...]) -> Any:
    """Returns an encoder that does not convert categories to half precision before its first layer sees them.

    Args:
        layer: The encoder, which follows an `IntegerCast`. A `keras.Sequential` would convert its inputs.
        shape: The shape of its inputs, without the batch axis.

    Returns:
        The encoder, or a Sequential of the same layers whose inputs are int32.

    Raises:
        ValueError: The encoder is a functional model whose input is not of integers.
    """
    if isinstance(layer, keras.Sequential):
        return keras.Sequential([keras.Input(shape, dtype="int32"), *layer.layers], name=layer.name)
    if (
        isinstance(layer, keras.Model)
        and hasattr(layer, "input")
        and "int" not in keras.backend.standardize_dtype(layer.input.dtype)
    ):
        raise ValueError(
            f"The input of '{layer.name}', whose first layer takes categories in half precision, must be of integers. "
            f"Received: {layer.input.dtype}. Create it with keras.Input(shape, dtype='int32')."
        )
    return layer


def _category_layers(first: Any) -> list[keras.layers.Layer]:
    if isinstance(first, keras.layers.Layer):
        is_own = type(first).__module__.startswith("keras.")  # whose inner layers do not receive its own input
        found = [first] if is_own else flatten_layers(first)
    elif callable(first):
        held = inspect.getclosurevars(first) if inspect.isfunction(first) else None
        values = [] if held is None else [*held.nonlocals.values(), *held.globals.values()]
        found = [inner for value in values if isinstance(value, keras.layers.Layer) for inner in flatten_layers(value)]
    else:
        return []
    return [layer for layer in found if isinstance(layer, _ON_INTEGERS)]


def _scales_again(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Rescaling):
        return bool(0 < np.max(np.abs(np.asarray(layer.scale))) < _SMALL)
    if not isinstance(layer, keras.layers.Normalization):
        return False
    # The mean of the data that the layer was given or adapted to.
    mean = layer.input_mean if getattr(layer, "mean", None) is None else layer.mean
    return mean is not None and bool(np.any(np.asarray(mean) < 0.0) or np.any(np.asarray(mean) > 1.0))


def _layers_by_number(parts: Sequence[Any]) -> Iterator[Any]:
    """The layers that change values rather than shapes, in order, with Sequential and functional models unpacked."""
    for part in parts:
        if isinstance(part, keras.Sequential) or (isinstance(part, keras.Model) and hasattr(part, "input")):
            yield from _layers_by_number(part.layers)
        elif not isinstance(part, _ON_SHAPES):
            yield part
