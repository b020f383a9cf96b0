"""Encoders, which bring a task's observations to the input shape of the backbone."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from mtq.checks import check_keras, integer
from mtq.networks.layout import MOVE_AXIS, as_image, mover
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


def resizing_encoder(task: Task, height: int, width: int, channels: int | None = None) -> keras.layers.Layer:
    """Creates layers that resize the images of one task, so that tasks with images of different sizes share a backbone.

    Gymnasium's frame stacks and gray images are rearranged to `[height, width, channels]` first.

    Args:
        task: The task.
        height: The height of the resized images.
        width: The width of the resized images. Pixels are interpolated bilinearly.
        channels: The number of channels of the output; missing ones are filled with zeros. By default the task's own.

    Returns:
        A layer `[B, …]` → `[B, height, width, channels]`.

    Raises:
        ValueError: The task's observations are not images, or have more than `channels` channels.
    """
    height, width = (
        integer(f"{role} of resizing_encoder", size) for role, size in (("height", height), ("width", width))
    )
    shape = task.spec.observation_shape
    image = as_image(shape) if len(shape) > 1 else None
    if image is None:
        raise ValueError(
            f"The observations of task '{task.name}' must be images [height, width, channels] to be resized. Received: "
            f"the shape {shape}. If frames or channels come first, {MOVE_AXIS}."
        )
    channels = image[-1] if channels is None else integer("channels of resizing_encoder", channels, least=image[-1])
    layers = [keras.layers.Resizing(height, width, data_format="channels_last", name="resizing")]
    if image != shape:
        layers.insert(0, mover("layout", shape, image))
    if channels > image[-1]:
        layers.append(ChannelPadding(channels, name="padding"))
    return keras.Sequential(layers, name=f"{task.name}_encoder")


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


def check_encoder(role: str, encoder: Any) -> None:
    """Raises a ValueError unless a value is a layer, a function or None.

    Args:
        role: The name of the argument, for the message.
        encoder: The value received.
    """
    check_keras(role, encoder)
    if encoder is not None and not callable(encoder):
        raise ValueError(f"{role} must be a layer, a function or None. Received: {encoder!r}.")


def with_free_name(encoder: Encoder | None, name: str) -> Encoder | None:
    """Renames an encoder that is called 'backbone', because that name is reserved for the network's own backbone.

    Args:
        encoder: A layer, a function or None.
        name: The new name.

    Returns:
        The encoder; in a Sequential of this name, if it is built.
    """
    if not isinstance(encoder, keras.layers.Layer) or encoder.name != "backbone":
        return encoder
    if encoder.built:  # perhaps a part of another network, which finds it by its name
        return keras.Sequential([encoder], name=name)
    encoder.name = name
    return encoder


def default_encoders(shapes: Mapping[str, tuple[int, ...]], tasks: TaskSet) -> dict[str, Encoder | None]:
    """Chooses the encoders of a network for which the user gives none.

    Observations of one shape need no encoders. Vectors of different lengths get a dense layer each. Images with
    different numbers of channels are padded with channels of zeros. Images of different sizes stay as they are.

    Args:
        shapes: The shape of each task's observations, without the batch axis, as the encoders receive them.
        tasks: The tasks.

    Returns:
        An encoder, or None, for each task.

    Raises:
        ValueError: The observations are not all vectors, nor all images.
    """
    if len(set(shapes.values())) == 1:
        return dict.fromkeys(tasks)
    if all(len(shape) == 1 for shape in shapes.values()):
        return {name: dense_encoder(task) for name, task in tasks.items()}
    if all(len(shape) == 3 for shape in shapes.values()):
        channels = max(shape[-1] for shape in shapes.values())
        return {
            name: ChannelPadding(channels, name=f"{name}_encoder") if shape[-1] < channels else None
            for name, shape in shapes.items()
        }
    raise ValueError(
        "The observations of all tasks must be vectors, or all images, if no encoders are given. "
        f"Received: {dict(shapes)}. Pass encoders={{task: layer, …}} that bring each to one shape."
    )
