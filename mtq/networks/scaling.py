"""Bringing observations to `[0, 1]` on their way into a network."""

from typing import Any

import keras
import numpy as np

from mtq.spaces import TaskSpec

_EXACT_IN_16_BITS = 255


@keras.saving.register_keras_serializable("mtq")
class BoundsScaling(keras.layers.Layer):
    """Scales observations from their bounds to `[0, 1]`: `(x − low) / (high − low)`.

    Args:
        low: The lower bound, or those of the entries of the last axis.
        high: The upper bound, likewise.
    """

    is_row_wise = True

    def __init__(self, low: Any, high: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.low, self.high = (np.asarray(bound, np.float64).tolist() for bound in (low, high))

    def call(self, observations: Any) -> Any:
        """The scaled observations."""
        low = keras.ops.convert_to_tensor(self.low, self.compute_dtype)
        factor = keras.ops.convert_to_tensor(1 / (np.asarray(self.high) - np.asarray(self.low)), self.compute_dtype)
        return (keras.ops.cast(observations, self.compute_dtype) - low) * factor

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def scaling_layer(name: str, spec: TaskSpec) -> keras.layers.Layer | None:
    """The layer that scales a task's observations, or None if they are not to be scaled.

    Args:
        name: Of the layer.
        spec: Of the task.
    """
    high, low = spec.observation_high, spec.observation_low
    if high is None:
        return None
    if low is None and isinstance(high, float | int) and high <= _EXACT_IN_16_BITS:
        return keras.layers.Rescaling(1 / high, name=name)
    # In float32 whatever the precision of the rest, which may not tell such numbers apart.
    return BoundsScaling(0.0 if low is None else low, high, name=name, dtype="float32")


def check_not_scaled_again(name: str, layer: Any) -> None:
    """Raises a ValueError if a layer expects observations as the environment gives them, though they are in `[0, 1]`.

    Args:
        name: The name of the task, whose observations are scaled.
        layer: What they go into.
    """
    while isinstance(layer, keras.Sequential) and layer.layers:
        layer = layer.layers[0]
    is_rescaling = isinstance(layer, keras.layers.Rescaling) and 0 < np.max(np.abs(layer.scale)) < 1 / 16
    mean = getattr(layer, "mean", None) if isinstance(layer, keras.layers.Normalization) else None
    is_normalization = mean is not None and bool(np.any(np.asarray(mean) > 1.0) or np.any(np.asarray(mean) < 0.0))
    if is_rescaling or is_normalization:
        raise ValueError(
            f"Layer '{layer.name}' must be for observations in [0, 1], to which those of task '{name}' are scaled on "
            f"their way in. Received: {layer.get_config()}, which would scale them again. Leave it out, or adapt it to "
            "scaled observations."
        )
