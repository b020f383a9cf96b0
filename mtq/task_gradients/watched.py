"""Differentiation with respect to values that are substituted for a network's variables, and of scaled losses."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class WatchedValues(keras.StatelessScope):
    """A stateless scope that substitutes watched copies for the values of variables.

    If a layer assigns one of these variables while it is called, as `SpectralNormalization` does, the tape watches the
    assigned value from then on. No gradient flows through the assignment, as with a real variable.

    Args:
        tape: The tape, which is recording.
        variables: The variables.
        options: Further arguments of `keras.StatelessScope`.

    Attributes:
        sources: The watched tensors, each with the place of its variable among `variables`.
    """

    def __init__(self, tape: tf.GradientTape, variables: Sequence[keras.Variable], **options: Any) -> None:
        copies = [tf.identity(variable.value) for variable in variables]
        tape.watch(copies)
        super().__init__(list(zip(variables, copies, strict=True)), **options)
        self._tape, self._places = tape, {id(variable): place for place, variable in enumerate(variables)}
        self.sources = list(enumerate(copies))

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Records the value that a layer assigns to a variable; called by Keras.

        Args:
            update: The variable and the assigned value.
        """
        variable, value = update
        place = self._places.get(id(variable))
        if place is not None:
            value = tf.identity(tf.stop_gradient(value))
            self._tape.watch(value)
            self.sources.append((place, value))
        super().add_update((variable, value))

    def was_assigned(self, variable: keras.Variable) -> bool:
        """Whether a layer assigned a value to a variable.

        Args:
            variable: Any variable.
        """
        value = self.get_current_value(variable)
        place = self._places.get(id(variable))
        return value is not None and (place is None or value is not self.sources[place][1])


def unscaled(gradient: Any, scale: tf.Tensor) -> tf.Tensor:
    """Divides the gradient of a scaled loss by the scale, in at least float32, where it does not underflow.

    Args:
        gradient: The gradient, a tensor or `tf.IndexedSlices`.
        scale: The loss scale, a float32 scalar.

    Returns:
        The gradient as a dense tensor.
    """
    gradient = tf.convert_to_tensor(gradient)
    gradient = tf.cast(gradient, tf.float32) if gradient.dtype.size < 4 else gradient
    return gradient / tf.cast(scale, gradient.dtype)
