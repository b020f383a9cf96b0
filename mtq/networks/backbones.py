"""Backbones: the part of the network that the tasks share."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import keras

from mtq.numeric import integer

_LARGE_IMAGE = 36


def widths(role: str, units: Sequence[int]) -> list[int]:
    """The widths of some layers as integers.

    Args:
        role: The name of the argument, for the message.
        units: The value received.

    Raises:
        ValueError: It is not a list of positive integers.
    """
    if isinstance(units, str | bytes | Mapping) or not isinstance(units, Iterable):
        raise ValueError(f"{role} must be a list of integers, a layer's width each. Received: {units!r}.")
    return [integer(role, width) for width in units]


def backbone_for(shapes: Collection[tuple[int, ...]]) -> str:
    """The name of the backbone that fits observations: `"mlp"`, `"minatar_cnn"` or `"nature_cnn"`.

    Args:
        shapes: Of the tasks' observations.
    """
    if not all(len(shape) == 3 for shape in shapes):
        return "mlp"
    return "nature_cnn" if min(min(shape[:2]) for shape in shapes) >= _LARGE_IMAGE else "minatar_cnn"


def mlp(units: Sequence[int] = (128, 128), activation: str = "relu") -> keras.Sequential:
    """A stack of dense layers, for vectors.

    Args:
        units: The width of each layer.
        activation: The activation of each layer.

    Returns:
        `[B, features]` → `[B, units[-1]]`.

    Raises:
        ValueError: There are no layers.
    """
    units = widths("units of the backbone", units)
    if not units:
        raise ValueError("units of the backbone must name at least one layer. Received: none.")
    layers = [keras.layers.Dense(n, activation=activation, name=f"dense_{i}") for i, n in enumerate(units)]
    return keras.Sequential(layers, name="backbone")


def minatar_cnn(filters: int = 16, units: int = 128) -> keras.Sequential:
    """A 3×3 convolution and a dense layer, for MinAtar's 10×10 images.

    Args:
        filters: Of the convolution.
        units: Of the dense layer.

    Returns:
        `[B, 10, 10, channels]` → `[B, units]`.

    Reference:
        Young and Tian, "MinAtar: An Atari-Inspired Testbed", 2019, section 3.
    """
    filters, units = integer("filters of the backbone", filters), integer("units of the backbone", units)
    return keras.Sequential(
        [
            keras.layers.Conv2D(filters, 3, activation="relu", name="conv_0"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(units, activation="relu", name="dense_0"),
        ],
        name="backbone",
    )


def nature_cnn(units: int = 512) -> keras.Sequential:
    """Three convolutions and a dense layer, for 84×84 images.

    Args:
        units: Of the dense layer.

    Returns:
        `[B, 84, 84, frames]` → `[B, units]`.

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, Methods.
    """
    units = integer("units of the backbone", units)
    return keras.Sequential(
        [
            keras.layers.Conv2D(32, 8, strides=4, activation="relu", name="conv_0"),
            keras.layers.Conv2D(64, 4, strides=2, activation="relu", name="conv_1"),
            keras.layers.Conv2D(64, 3, strides=1, activation="relu", name="conv_2"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(units, activation="relu", name="dense_0"),
        ],
        name="backbone",
    )
