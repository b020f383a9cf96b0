"""Encoders: what brings a task's observation to the shape that the backbone takes."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import integer
from mtq.tasks.task import Task, TaskSet

Encoder = Callable[[Any], Any]


def dense_encoder(task: Task, units: int = 64) -> keras.layers.Layer:
    """A dense layer of its own for one task's vectors: `[B, features]` → `[B, units]`."""
    units = integer("units of dense_encoder", units)
    return keras.layers.Dense(units, activation="relu", name=f"{task.name}_encoder")


@keras.saving.register_keras_serializable("mtq")
class ChannelPadding(keras.layers.Layer):
    """Pads images with channels of zeros: `[B, height, width, c]` → `[B, height, width, channels]`.

    Args:
        channels: How many there are to be, at least as many as come in.
    """

    is_row_wise = True  # its output for one row depends on that row alone

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = integer("channels of ChannelPadding", channels)

    def call(self, images: Any) -> Any:
        """Pads the images."""
        # Not with keras.ops.pad: TensorFlow 2.21 fuses a pad with the convolution behind it, and forgets the channels.
        zero = keras.ops.zeros_like(images[..., :1])
        return keras.ops.concatenate([images] + [zero] * (self.channels - images.shape[-1]), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape with the channels padded."""
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """The settings as Keras saves them."""
        return {**super().get_config(), "channels": self.channels}


def default_encoders(shapes: Mapping[str, tuple[int, ...]], tasks: TaskSet) -> dict[str, Encoder | None]:
    """Chooses encoders where none are given.

    Where all observations agree in shape there are none. Vectors of different lengths get a dense layer each; images
    that differ in their channels are padded with channels of zeros.

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
        "The observations of these tasks have no shape in common, and no encoders were given. Received: "
        f"{dict(shapes)}. "
        "Pass encoders={task: layer, …} that bring each to one shape."
    )
