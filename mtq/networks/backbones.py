"""Backbones, the part of a network that tasks share."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import keras

from mtq.checks import integer
from mtq.networks.layout import MOVE_AXIS, SMALLEST, as_image
from mtq.tasks.observation_spaces import LARGE

_LAST = "channels_last"  # the layout of observations, regardless of Keras's default


def widths(role: str, units: Sequence[int]) -> list[int]:
    """Checks a list of layer widths.

    Args:
        role: The name of the argument, for the error message.
        units: The value of the argument.

    Returns:
        The widths as a list of integers.

    Raises:
        ValueError: The value is not a list of positive integers.
    """
    if isinstance(units, str | bytes | Mapping) or not isinstance(units, Iterable):
        raise ValueError(f"{role} must be a list of integers, the width of each layer. Received: {units!r}.")
    return [integer(role, width) for width in units]


def backbone_for(shapes: Collection[tuple[int, ...]]) -> str:
    """Returns the name of the backbone that suits observations of the given shapes.

    Gymnasium's stacks of large frames, `[frames, height, width]`, and large gray images, `[height, width]`, count as
    images, because networks rearrange their axes.

    Args:
        shapes: The shapes of the tasks' observations.

    Returns:
        `"mlp"`, `"minatar_cnn"` or `"nature_cnn"`.

    Raises:
        ValueError: A shape is ambiguous, or none of mtq's backbones accepts it.
    """
    images = [_image(shape) for shape in shapes if len(shape) > 1]
    if len(images) < len(shapes):  # vectors need encoders in any case
        return "mlp"
    return "nature_cnn" if min(min(image[:2]) for image in images) >= LARGE else "minatar_cnn"


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    image = as_image(shape) if len(shape) > 2 or min(shape) >= LARGE else None
    if image is None:
        raise ValueError(
            "Observations must be vectors or images [height, width, channels], so that their shapes determine a "
            f"backbone. Received: {tuple(shape)}, which is ambiguous. If frames or channels come first, "
            f"{MOVE_AXIS}, as does a gymnasium.wrappers.TransformObservation; a gray image needs an axis of one "
            "channel at the end, and a stack of vectors gymnasium.wrappers.FlattenObservation. Or name the backbone."
        )
    if min(image[:2]) < SMALLEST:
        raise ValueError(
            f"Images must be at least {SMALLEST}×{SMALLEST}, the kernel of minatar_cnn. Received: {tuple(shape)}. "
            "Flatten them with gymnasium.wrappers.FlattenObservation, or with an encoder keras.layers.Flatten() before "
            "mlp."
        )
    return image


def mlp(units: Sequence[int] = (128, 128), activation: str = "relu") -> keras.Sequential:
    """Creates a stack of dense layers, for vectors.

    Args:
        units: The width of each layer.
        activation: The activation function of each layer.

    Returns:
        A backbone `[B, features]` → `[B, units[-1]]`.

    Raises:
        ValueError: `units` is not a non-empty list of positive integers.
    """
    units = widths("units of the backbone", units)
    if not units:
        raise ValueError("units of the backbone must contain the width of at least one layer. Received: an empty list.")
    layers = [keras.layers.Dense(n, activation=activation, name=f"dense_{i}") for i, n in enumerate(units)]
    return keras.Sequential(layers, name="backbone")


def minatar_cnn(filters: int = 16, units: int = 128, pooling: str | None = None) -> keras.Sequential:
    """Creates a 3×3 convolution followed by a dense layer, for MinAtar's 10×10 images.

    Args:
        filters: The number of filters of the convolution.
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.

    Returns:
        A backbone `[B, 10, 10, channels]` → `[B, units]`; with pooling, of images of any size.

    Reference:
        Young and Tian, "MinAtar: An Atari-Inspired Testbed", 2019, section 3.
    """
    filters, units = integer("filters of the backbone", filters), integer("units of the backbone", units)
    return keras.Sequential(
        [
            keras.layers.Conv2D(filters, 3, activation="relu", data_format=_LAST, name="conv_0"),
            _as_vector(pooling),
            keras.layers.Dense(units, activation="relu", name="dense_0"),
        ],
        name="backbone",
    )


def nature_cnn(units: int = 512, pooling: str | None = None) -> keras.Sequential:
    """Creates three convolutions followed by a dense layer, for 84×84 images.

    Args:
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.

    Returns:
        A backbone `[B, 84, 84, frames]` → `[B, units]`; with pooling, of images of any size from 36×36.

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, Methods.
    """
    units = integer("units of the backbone", units)
    return keras.Sequential(
        [
            keras.layers.Conv2D(32, 8, strides=4, activation="relu", data_format=_LAST, name="conv_0"),
            keras.layers.Conv2D(64, 4, strides=2, activation="relu", data_format=_LAST, name="conv_1"),
            keras.layers.Conv2D(64, 3, strides=1, activation="relu", data_format=_LAST, name="conv_2"),
            _as_vector(pooling),
            keras.layers.Dense(units, activation="relu", name="dense_0"),
        ],
        name="backbone",
    )


def data_efficient_cnn(units: int = 256, pooling: str | None = None) -> keras.Sequential:
    """Creates two convolutions and a dense layer for 84×84 images, with a seventh of the arithmetic of `nature_cnn`.

    Args:
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.

    Returns:
        A backbone `[B, 84, 84, frames]` → `[B, units]`; with pooling, of images of any size from 25×25.

    Reference:
        van Hasselt et al., "When to use parametric models in reinforcement learning?", NeurIPS 2019, appendix E: the
        data-efficient Rainbow.
    """
    units = integer("units of the backbone", units)
    return keras.Sequential(
        [
            keras.layers.Conv2D(32, 5, strides=5, activation="relu", data_format=_LAST, name="conv_0"),
            keras.layers.Conv2D(64, 5, strides=5, activation="relu", data_format=_LAST, name="conv_1"),
            _as_vector(pooling),
            keras.layers.Dense(units, activation="relu", name="dense_0"),
        ],
        name="backbone",
    )


def _as_vector(pooling: str | None) -> keras.layers.Layer:
    """Returns the layer from the last convolution to vectors."""
    if pooling is None:
        return keras.layers.Flatten(data_format=_LAST, name="flatten")
    if pooling == "average":
        return keras.layers.GlobalAveragePooling2D(data_format=_LAST, name="pooling")
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(data_format=_LAST, name="pooling")
    raise ValueError(f"pooling of the backbone must be 'average', 'max' or None. Received: {pooling!r}.")
