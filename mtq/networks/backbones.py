"""Backbones, the part of a network that tasks share."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import keras

from mtq.checks import integer
from mtq.networks.layout import MOVE_AXIS, SMALLEST, as_image
from mtq.networks.residual import Residual
from mtq.tasks.observation_spaces import LARGE

_LAST = "channels_last"  # the layout of observations, regardless of Keras's default
_EPSILON = 1e-5  # PyTorch's; Keras's 1e-3 leaves features of small variance far from unit variance
_NORMALIZATIONS = {"layer": keras.layers.LayerNormalization, "rms": keras.layers.RMSNormalization}


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


def mlp(
    units: Sequence[int] = (128, 128), activation: str = "relu", normalization: str | None = None
) -> keras.Sequential:
    """Creates a stack of dense layers, for vectors.

    Args:
        units: The width of each layer.
        activation: The activation function of each layer.
        normalization: `"layer"` for layer normalization or `"rms"` for RMS normalization of each layer's outputs before
            the activation; None for no normalization.

    Returns:
        A backbone `[B, features]` → `[B, units[-1]]`.

    Raises:
        ValueError: `units` is not a non-empty list of positive integers, or the normalization is unknown.

    Reference:
        Layer normalization: Ba et al., 2016, equation 4; in deep Q-learning, Gallici et al., "Simplifying Deep Temporal
        Difference Learning", ICLR 2025, section 3. RMS normalization: Zhang and Sennrich, NeurIPS 2019, equation 4.
    """
    units = widths("units of the backbone", units)
    if not units:
        raise ValueError("units of the backbone must contain the width of at least one layer. Received: an empty list.")
    return keras.Sequential(
        [_dense(n, f"dense_{i}", normalization, activation) for i, n in enumerate(units)], name="backbone"
    )


def minatar_cnn(
    filters: int = 16, units: int = 128, pooling: str | None = None, normalization: str | None = None
) -> keras.Sequential:
    """Creates a 3×3 convolution followed by a dense layer, for MinAtar's 10×10 images.

    Args:
        filters: The number of filters of the convolution.
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.
        normalization: `"layer"` for layer normalization or `"rms"` for RMS normalization before each activation, in a
            convolution over the channels at each position; None for no normalization.

    Returns:
        A backbone `[B, 10, 10, channels]` → `[B, units]`; with pooling, of images of any size.

    Reference:
        Young and Tian, "MinAtar: An Atari-Inspired Testbed", 2019, section 3. With layer normalization it is the
        network of PQN, Gallici et al., ICLR 2025, whose code also normalizes over the channels alone.
    """
    filters, units = integer("filters of the backbone", filters), integer("units of the backbone", units)
    return keras.Sequential(
        [
            _conv(filters, 3, "conv_0", normalization),
            _as_vector(pooling),
            _dense(units, "dense_0", normalization),
        ],
        name="backbone",
    )


def nature_cnn(units: int = 512, pooling: str | None = None, normalization: str | None = None) -> keras.Sequential:
    """Creates three convolutions followed by a dense layer, for 84×84 images.

    Args:
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.
        normalization: `"layer"` for layer normalization or `"rms"` for RMS normalization before each activation, in a
            convolution over the channels at each position; None for no normalization.

    Returns:
        A backbone `[B, 84, 84, frames]` → `[B, units]`; with pooling, of images of any size from 36×36.

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, Methods.
    """
    units = integer("units of the backbone", units)
    return keras.Sequential(
        [
            _conv(32, 8, "conv_0", normalization, strides=4),
            _conv(64, 4, "conv_1", normalization, strides=2),
            _conv(64, 3, "conv_2", normalization, strides=1),
            _as_vector(pooling),
            _dense(units, "dense_0", normalization),
        ],
        name="backbone",
    )


def data_efficient_cnn(
    units: int = 256, pooling: str | None = None, normalization: str | None = None
) -> keras.Sequential:
    """Creates two convolutions and a dense layer for 84×84 images, with a seventh of the arithmetic of `nature_cnn`.

    Args:
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.
        normalization: `"layer"` for layer normalization or `"rms"` for RMS normalization before each activation, in a
            convolution over the channels at each position; None for no normalization.

    Returns:
        A backbone `[B, 84, 84, frames]` → `[B, units]`; with pooling, of images of any size from 25×25.

    Reference:
        van Hasselt et al., "When to use parametric models in reinforcement learning?", NeurIPS 2019, appendix E: the
        data-efficient Rainbow.
    """
    units = integer("units of the backbone", units)
    return keras.Sequential(
        [
            _conv(32, 5, "conv_0", normalization, strides=5),
            _conv(64, 5, "conv_1", normalization, strides=5),
            _as_vector(pooling),
            _dense(units, "dense_0", normalization),
        ],
        name="backbone",
    )


def bro_net(width: int = 256, blocks: int = 2) -> keras.Sequential:
    """Creates a residual network of dense layers with layer normalization, for vectors.

    A dense layer, layer normalization and ReLU are followed by residual blocks `x + LN(W₂ ReLU(LN(W₁ x)))`. Each block
    counts as one layer for `shared_layers` of `shared_q_network`.

    Args:
        width: The width of all layers.
        blocks: The number of residual blocks.

    Returns:
        A backbone `[B, features]` → `[B, width]`.

    Raises:
        ValueError: `width` or `blocks` is not a positive integer.

    Reference:
        Nauman et al., "Bigger, Regularized, Optimistic: scaling for compute and sample-efficient continuous control",
        NeurIPS 2024, section 3; for many tasks, Nauman et al., "Bigger, Regularized, Categorical", NeurIPS 2025.
    """
    width, blocks = integer("width of the backbone", width), integer("blocks of the backbone", blocks)

    def block(name: str) -> keras.layers.Layer:
        return Residual(
            [_dense(width, "dense_0", "layer"), _dense(width, "dense_1", "layer", activation=None)], name=name
        )

    return keras.Sequential(
        [_dense(width, "dense_0", "layer"), *(block(f"block_{i}") for i in range(blocks))], name="backbone"
    )


def impala_cnn(
    channels: Sequence[int] = (16, 32, 32),
    units: int = 256,
    pooling: str | None = None,
    normalization: str | None = None,
) -> keras.Sequential:
    """Creates a residual network of convolutions followed by a dense layer, for images of any size.

    Each section has a 3×3 convolution, 3×3 max pooling with stride 2, and two residual blocks of two 3×3 convolutions,
    each after a ReLU. Each section counts as one layer for `shared_layers` of `shared_q_network`.

    Args:
        channels: The number of channels of each section.
        units: The width of the dense layer.
        pooling: `"average"` or `"max"` for global average or max pooling before the dense layer, so that tasks with
            images of different sizes can share the backbone; None to flatten the feature maps.
        normalization: `"layer"` for layer normalization or `"rms"` for RMS normalization after each convolution, over
            the channels at each position, and after the dense layer; None for no normalization.

    Returns:
        A backbone `[B, height, width, channels]` → `[B, units]`.

    Raises:
        ValueError: `channels` is not a non-empty list of positive integers, or another argument is not allowed.

    Reference:
        Espeholt et al., "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
        ICML 2018, figure 3, right.
    """
    channels, units = widths("channels of the backbone", channels), integer("units of the backbone", units)
    if not channels:
        raise ValueError("channels of the backbone must contain at least one number. Received: an empty list.")

    def conv(filters: int, name: str) -> keras.layers.Layer:
        return _conv(filters, 3, name, normalization, activation=None, padding="same")

    def block(filters: int, name: str) -> keras.layers.Layer:
        relus = [keras.layers.ReLU(name=f"relu_{i}") for i in range(2)]
        return Residual([relus[0], conv(filters, "conv_0"), relus[1], conv(filters, "conv_1")], name=name)

    def section(filters: int, name: str) -> keras.layers.Layer:
        pool = keras.layers.MaxPooling2D(3, strides=2, padding="same", data_format=_LAST, name="pool")
        return keras.Sequential(
            [conv(filters, "conv"), pool, block(filters, "block_0"), block(filters, "block_1")], name=name
        )

    return keras.Sequential(
        [
            *(section(filters, f"section_{i}") for i, filters in enumerate(channels)),
            keras.layers.ReLU(name="relu"),
            _as_vector(pooling),
            _dense(units, "dense_0", normalization),
        ],
        name="backbone",
    )


def _dense(units: int, name: str, normalization: str | None, activation: str | None = "relu") -> keras.layers.Layer:
    """Returns a dense layer, or a block of a dense layer, its normalization and its activation."""
    if normalization is None:
        return keras.layers.Dense(units, activation=activation, name=name)
    return _block(keras.layers.Dense(units, name="dense"), name, normalization, activation)


def _conv(
    filters: int,
    kernel_size: int,
    name: str,
    normalization: str | None,
    activation: str | None = "relu",
    **options: Any,
) -> keras.layers.Layer:
    """Returns a convolution, or a block of a convolution, its normalization and its activation."""
    options = {"data_format": _LAST, **options}
    if normalization is None:
        return keras.layers.Conv2D(filters, kernel_size, activation=activation, name=name, **options)
    layer = keras.layers.Conv2D(filters, kernel_size, name="conv", **options)
    return _block(layer, name, normalization, activation)


def _block(layer: keras.layers.Layer, name: str, normalization: str, activation: str | None) -> keras.layers.Layer:
    """Returns a layer, its normalization and its activation as one layer, so that tasks share all of it or nothing.

    The last axis is normalized: the channels at each position of an image. Weights then depend on neither the height
    nor the width, as tasks with images of different sizes need.
    """
    if not isinstance(normalization, str) or normalization not in _NORMALIZATIONS:
        raise ValueError(f"normalization of the backbone must be 'layer', 'rms' or None. Received: {normalization!r}.")
    layers = [layer, _NORMALIZATIONS[normalization](epsilon=_EPSILON, name="normalization")]
    if activation is not None:
        layers.append(keras.layers.Activation(activation, name="activation"))
    return keras.Sequential(layers, name=name)


def _as_vector(pooling: str | None) -> keras.layers.Layer:
    """Returns the layer from the last convolution to vectors."""
    if pooling is None:
        return keras.layers.Flatten(data_format=_LAST, name="flatten")
    if pooling == "average":
        return keras.layers.GlobalAveragePooling2D(data_format=_LAST, name="pooling")
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(data_format=_LAST, name="pooling")
    raise ValueError(f"pooling of the backbone must be 'average', 'max' or None. Received: {pooling!r}.")
