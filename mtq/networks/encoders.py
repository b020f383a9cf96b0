"""Encoders, which bring a task's observations to the input shape of the backbone."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import integer
from mtq.tasks.task import Task, TaskSet

Encoder = Callable[[Any], Any]


def dense_encoder(task: Task, units: int = 64) -> keras.layers.Layer:
    """Creates a dense layer for the vectors of one task.

    Args:
        task: The task.
        units: The width of the layer.

    Returns:
        A layer `[B, features]` → `[B, units]`.
    """
    units = integer("units of dense_encoder", units)
    return keras.layers.Dense(units, activation="relu", name=f"{task.name}_encoder")


@keras.saving.register_keras_serializable("mtq")
class ChannelPadding(keras.layers.Layer):
    """Pads images with channels of zeros: `[B, height, width, c]` → `[B, height, width, channels]`.

    Args:
        channels: The number of output channels, at least the number of input channels.
    """

    is_row_wise = True  # its output for one row depends on that row alone

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = integer("channels of ChannelPadding", channels)

    def call(self, images: Any) -> Any:
        """Pads images `[B, height, width, c]`."""
        # Not with keras.ops.pad: TensorFlow 2.21 fuses it with the following convolution and drops the channels.
        zero = keras.ops.zeros_like(images[..., :1])
        return keras.ops.concatenate([images] + [zero] * (self.channels - images.shape[-1]), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape with `channels` as the last axis."""
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the config that Keras saves."""
        return {**super().get_config(), "channels": self.channels}


def default_encoders(shapes: Mapping[str, tuple[int, ...]], tasks: TaskSet) -> dict[str, Encoder | None]:
    """Chooses the encoders of a network for which the user gives none.

    Observations of one shape need no encoders. Vectors of different lengths get a dense layer each. Images with
    different numbers of channels are padded with channels of zeros.

    Args:
        shapes: The shape of each task's observations, without the batch axis, as the encoders receive them.
        tasks: The tasks.

    Returns:
        An encoder, or None, for each task.

    Raises:
        ValueError: The observations are not all vectors, nor all images of one height and width.
    """
    if len(set(shapes.values())) == 1:
        return dict.fromkeys(tasks)
    if all(len(shape) == 1 for shape in shapes.values()):
        return {name: dense_encoder(task) for name, task in tasks.items()}
    if all(len(shape) == 3 for shape in shapes.values()) and len({shape[:2] for shape in shapes.values()}) == 1:
        channels = max(shape[-1] for shape in shapes.values())
        return {
            name: ChannelPadding(channels, name=f"{name}_encoder") if shape[-1] < channels else None
            for name, shape in shapes.items()
        }
    raise ValueError(
        "The observations of all tasks must be vectors, or images of one height and width, if no encoders are given. "
        f"Received: {dict(shapes)}. Pass encoders={{task: layer, …}} that bring each to one shape."
    )
