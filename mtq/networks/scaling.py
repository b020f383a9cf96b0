"""Layers that scale observations to `[0, 1]` at the input of a network."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from mtq.tasks.observation_spaces import scaling_bounds
from mtq.tasks.spec import TaskSpec

_EXACT_IN_16_BITS = 255
_EXACT_INTEGERS = {"bfloat16": 2**8, "float16": 2**11}  # up to which a precision represents all integers
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


def scaling_layer(name: str, spec: TaskSpec, layers: Sequence[Any]) -> keras.layers.Layer | None:
    """Creates the layer that scales a task's observations, or a part of them.

    Integers are not scaled if the first layer treats them as categories, such as an embedding. A function, or a layer
    of the user's own, receives scaled numbers, whatever it does with them.

    Args:
        name: The name of the task, or of the task and the part, with which the layer's name begins.
        spec: The spec of the observations.
        layers: The layers or functions that the observations pass through, in order.

    Returns:
        The layer, or None if the observations are not scaled.

    Raises:
        ValueError: The first layer scales observations itself, so that they would be scaled twice; or it takes
            categories in a precision that does not distinguish them.
    """
    first = next(_layers_by_number(layers), None)
    high, low = spec.observation_high, spec.observation_low
    if isinstance(first, _ON_INTEGERS):
        _check_precision(first, layers, name, spec)
        return None
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


def _check_precision(layer: keras.layers.Layer, layers: Sequence[Any], name: str, spec: TaskSpec) -> None:
    """Raises a ValueError if categories reach a layer in half precision, which would not distinguish them."""
    low, high = scaling_bounds(spec.observation_dtype, spec.observation_low, spec.observation_high)
    largest = max(np.max(np.abs(low)), np.max(np.abs(high)))
    dtypes: list[str] = []
    _collect_dtypes(layers, dtypes)
    exact, dtype = min((_EXACT_INTEGERS.get(dtype, np.inf), dtype) for dtype in dtypes)
    if spec.observation_dtype == "float32" and largest > exact:
        raise ValueError(
            f"Layer '{layer.name}', which takes the observations of '{name}' as categories, and the layers before it "
            f"must have a dtype that distinguishes them. Received: {dtype}, which is exact to {exact}, for numbers to "
            f"{largest:g}. Create these layers with dtype='float32', and put them into no model within a model."
        )


def _collect_dtypes(layers: Sequence[Any], dtypes: list[str]) -> bool:
    """Collects the dtypes to which observations are cast up to the first layer that changes values.

    Returns:
        Whether that layer was found.
    """
    for layer in layers:
        if isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "input")):
            # A Sequential that is not built yet will cast its input to the precision of its first layer.
            is_known = layer.built and getattr(layer, "inputs", None)
            dtypes.append(layer.inputs[0].dtype if is_known else layer.layers[0].compute_dtype)
            if _collect_dtypes(layer.layers, dtypes):
                return True
        elif not isinstance(layer, keras.layers.InputLayer):
            dtypes.append(getattr(layer, "compute_dtype", "float32"))
            if not isinstance(layer, _ON_SHAPES):
                return True
    return False


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
