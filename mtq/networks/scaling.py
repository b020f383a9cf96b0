"""Layers that scale observations to `[0, 1]` at the input of a network."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

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
    keras.layers.Discretization,
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


def scaling_layer(name: str, spec: TaskSpec, parts: Sequence[Any]) -> keras.layers.Layer | None:
    """Creates the layer that scales a task's observations, or a part of them.

    Integers are not scaled if the first layer treats them as categories, such as an embedding.

    Args:
        name: The name of the task, or of the task and the part, with which the layer's name begins.
        spec: The spec of the observations.
        parts: The layers or functions that the observations pass through, in order.

    Returns:
        The layer, or None if the observations are not scaled.

    Raises:
        ValueError: The first layer scales observations itself, so that they would be scaled twice.
    """
    first = next(_layers_by_number(parts), None)
    high, low = spec.observation_high, spec.observation_low
    if high is None or isinstance(first, _ON_INTEGERS):
        return None
    if first is not None and _scales_again(first):
        raise ValueError(
            f"Layer '{first.name}' must be for observations in [0, 1], to which those of '{name}' are scaled at the "
            f"input, from bounds of {low or 0.0} to {high}. Received: {type(first).__name__}, which would "
            "scale them again. Leave it out, or adapt it to scaled observations."
        )
    if low is None and isinstance(high, float | int) and high <= _EXACT_IN_16_BITS:
        return keras.layers.Rescaling(1 / high, name=f"{name}_scaling")
    # In float32 regardless of the network's precision, because half precision may not distinguish such numbers.
    return BoundsScaling(0.0 if low is None else low, high, name=f"{name}_scaling", dtype="float32")


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
