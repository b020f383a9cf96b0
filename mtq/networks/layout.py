"""The layout of images: axes that a convolution would misread are rearranged, or refused if they are ambiguous.

Images are `[height, width, channels]` in mtq. Gymnasium's frame stacks are `[frames, height, width]` for gray images
and `[frames, height, width, channels]` for color images; single gray images are `[height, width]`. These layouts can be
distinguished by shape if there are few frames and the images are large.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras

from mtq.tasks.observation_spaces import LARGE

SMALLEST = 3  # the smallest height and width of images for `minatar_cnn`; `LARGE` is that for `nature_cnn`
_MOST_FRAMES, _MOST_COLORS = 16, 4
_ON_IMAGES = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)
Shape = tuple[int, ...]
MOVE_AXIS = (
    "encoders={task: keras.layers.Permute((2, 3, 1)), …} moves the first of three axes to the end (of four, a "
    "keras.Sequential of a Permute and a Reshape makes three)"
)
_AS_IT_IS = "If the shape is correct as it is, pass encoders={task: keras.layers.Identity(), …}."


def as_image(shape: Shape) -> Shape | None:
    """The shape `[height, width, channels]` of an image observation after its axes are rearranged.

    Args:
        shape: The shape of the observation, two to four axes without the batch axis.

    Returns:
        The shape, which is unchanged if the channels already come last; None if the layout is ambiguous.
    """
    if len(shape) == 2:
        return (*shape, 1)
    if len(shape) == 3 and not _may_have_channels_first(shape):
        has_channels_in_middle = shape[1] <= _MOST_FRAMES and min(shape[0], shape[2]) >= LARGE
        return None if has_channels_in_middle else shape
    if len(shape) == 3 and shape[0] <= _MOST_FRAMES and min(shape[1:]) >= LARGE:
        return (*shape[1:], shape[0])
    if len(shape) == 4 and shape[0] < min(shape[1:3]) and shape[0] <= _MOST_FRAMES and shape[3] <= _MOST_COLORS:
        return (*shape[1:3], shape[0] * shape[3])
    return None


def to_image(name: str, shape: Shape, backbone: keras.layers.Layer) -> keras.layers.Layer | None:
    """Creates the layer that rearranges a task's observations to `[height, width, channels]` for an image backbone.

    Whether this is needed depends on the shape that the backbone's first convolution or pooling layer receives, because
    layers before it may already rearrange the axes.

    Args:
        name: The task's name.
        shape: The shape of its observations, without the batch axis.
        backbone: The backbone that receives them.

    Returns:
        A layer, or None if nothing has to be rearranged.

    Raises:
        ValueError: The layer would misread the axes, and their order is ambiguous.
    """
    found = _first_on_images(backbone, shape)
    if found is None:
        return None
    layer, seen = found
    takes = _input_of(backbone)
    if takes is not None and takes != shape:
        return mover(f"{name}_layout", shape, takes) if as_image(shape) == takes else None
    if layer.data_format == "channels_first":
        if len(seen) != 3 or not _may_have_channels_first(seen):
            raise ValueError(
                f"Layer '{layer.name}' of the backbone must be of data_format 'channels_last', as observations are. "
                f"Received: 'channels_first' (Keras's default is {keras.config.image_data_format()!r}), for the "
                f"observations {shape} of task '{name}', of which it sees {seen}. Give the layers data_format="
                f"'channels_last', or let encoders move the axes: keras.layers.Permute((3, 1, 2)). {_AS_IT_IS}"
            )
        return None
    image = as_image(seen)
    if image == seen:
        return None
    if image is None or seen != shape or takes is not None:
        raise ValueError(
            f"Layer '{layer.name}' of the backbone must see images [height, width, channels]. Received: the "
            f"observations {shape} of task '{name}', of which it sees {seen}. Vectors need another backbone, such as "
            f"mlp. If frames or channels come first, {MOVE_AXIS}. {_AS_IT_IS}"
        )
    return mover(f"{name}_layout", shape, image)


def _may_have_channels_first(shape: Sequence[int]) -> bool:
    """Whether the first of three axes is shorter than both others, unlike in a square image with channels last."""
    return shape[0] < min(shape[1:])


def mover(name: str, shape: Shape, image: Shape) -> keras.layers.Layer:
    """Creates the layer that rearranges the axes of an image.

    Args:
        name: The name of the layer.
        shape: The shape of an observation, without the batch axis.
        image: The shape that `as_image` returned for it, a different one.
    """
    if len(shape) == 2:
        return keras.layers.Reshape(image, name=name)
    if len(shape) == 3:
        return keras.layers.Permute((2, 3, 1), name=name)
    moved, joined = keras.layers.Permute((2, 3, 1, 4), name="frames_last"), keras.layers.Reshape(image, name="joined")
    return keras.Sequential([moved, joined], name=name)


def _input_of(backbone: Any) -> Shape | None:
    """The input shape of a model without the batch axis, or None if it has no fixed one."""
    while isinstance(backbone, keras.Model):
        input_shape = getattr(backbone, "input_shape", None)
        if isinstance(input_shape, tuple) and not isinstance(input_shape[0], tuple):
            return input_shape[1:]
        backbone = backbone.layers[0] if isinstance(backbone, keras.Sequential) and backbone.layers else None
    return None


def _first_on_images(backbone: Any, shape: Shape) -> tuple[Any, Shape] | None:
    """The first convolution or pooling layer and the shape that it receives; None if there is none or it is unknown."""
    if isinstance(backbone, _ON_IMAGES):
        return backbone, shape
    if not isinstance(backbone, keras.Sequential):
        return _first_in_graph(backbone)
    for layer in backbone.layers:
        found = _first_on_images(layer, shape)
        if found is not None:
            return found
        try:
            shape = tuple(layer.compute_output_shape((None, *shape))[1:])
        except Exception:  # third-party layers may not know their output shape before they are built
            return None
        if None in shape or not math.prod(shape):
            return None
    return None


def _first_in_graph(backbone: Any) -> tuple[Any, Shape] | None:
    if not isinstance(backbone, keras.Model) or not hasattr(backbone, "input"):
        return None
    for layer in backbone.layers:
        if isinstance(layer, _ON_IMAGES):
            seen: Any = getattr(layer, "input", None)  # absent if the layer is called more than once
            is_known = seen is not None and None not in seen.shape[1:]
            return (layer, tuple(seen.shape[1:])) if is_known else None
    return None
