"""The loss scale of an optimizer: losses are multiplied by it, their gradients divided by it.

In float16, gradients of small losses underflow unless the losses are scaled. Weightings, aggregators and logs see the
unscaled gradients, in float32.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.optimizer import apply_reduced
from mtq.distribution.replicas import outside
from mtq.keras_internals import flatten_layers

_SMALLEST = 2.0**-14  # at this scale and below, an overflow is no longer attributed to the scale


def with_loss_scale(optimizer: keras.optimizers.Optimizer, network: keras.Model, previous: Any = None) -> Any:
    """Wraps an optimizer in a `LossScaleOptimizer` if the network computes in float16 and it has no loss scale yet.

    Args:
        optimizer: A Keras optimizer.
        network: The network to be trained.
        previous: The optimizer that the model had before. If it is a wrapper around the same optimizer, it is reused.

    Returns:
        The optimizer, or its wrapper.
    """
    is_scaled = is_dynamic(optimizer) or optimizer.loss_scale_factor is not None
    if is_scaled or not any(layer.compute_dtype == "float16" for layer in flatten_layers(network)):
        return optimizer
    if is_dynamic(previous) and previous.inner_optimizer is optimizer:
        return previous
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")


def is_dynamic(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer adapts its loss scale: whether it is a `LossScaleOptimizer`."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def check_loss_scale(optimizer: keras.optimizers.Optimizer) -> None:
    """Raises a ValueError if an optimizer scales the loss or applies gradients in a way that mtq does not support.

    Args:
        optimizer: A Keras optimizer.
    """
    kind = type(optimizer)
    if kind.apply_gradients is not keras.optimizers.Optimizer.apply_gradients:
        raise ValueError(
            f"optimizer must not override apply_gradients. Received: {kind.__name__}, whose method would not be "
            "called. Override apply or update_step."
        )
    if is_dynamic(optimizer):
        scale, is_known = optimizer.initial_scale, kind is keras.optimizers.LossScaleOptimizer
        is_known = is_known and not is_dynamic(optimizer.inner_optimizer)
    else:
        scale, is_known = optimizer.loss_scale_factor, kind.scale_loss is keras.optimizers.Optimizer.scale_loss
    if not is_known:
        raise ValueError(
            "optimizer must scale the loss by loss_scale_factor or be a plain keras.optimizers.LossScaleOptimizer. "
            f"Received: {kind.__name__}, which scales it differently. Wrap the optimizer itself once: "
            "keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))."
        )
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError(
            f"The optimizer's loss scale must be a positive number. Received: {scale!r}. Give "
            "loss_scale_factor=1024.0, for example, or None."
        )


def loss_scale_of(optimizer: keras.optimizers.Optimizer) -> tf.Tensor | None:
    """Returns the loss scale of an optimizer.

    Args:
        optimizer: A Keras optimizer.

    Returns:
        The factor by which losses are multiplied, a float32 scalar; None if there is none.
    """
    if not is_dynamic(optimizer) and optimizer.loss_scale_factor is None:
        return None
    return tf.cast(optimizer.scale_loss(tf.constant(1.0)), tf.float32)


def scaled(gradients: Sequence[tf.Tensor], scale: tf.Tensor) -> list[tf.Tensor]:
    """Multiplies gradients by the loss scale.

    Args:
        gradients: The gradients.
        scale: The loss scale, a float32 scalar.
    """
    return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]


def is_to_be_skipped(scale: tf.Tensor, losses_are_finite: tf.Tensor, all_is_finite: tf.Tensor) -> tf.Tensor:
    """Returns whether an update is skipped because its gradients overflowed due to the loss scale.

    If the losses themselves are not finite, or the scale is already the smallest, the overflow has another cause.

    Args:
        scale: The loss scale, a float32 scalar.
        losses_are_finite: Whether all losses are finite, a bool scalar.
        all_is_finite: Whether all losses and gradients are finite, a bool scalar.

    Returns:
        Whether the update is skipped, a bool scalar.
    """
    return tf.logical_and(losses_are_finite, ~all_is_finite) & (scale > _SMALLEST)


def apply_where_finite(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    finite: tf.Tensor,
) -> None:
    """Makes an update with a `LossScaleOptimizer`, or skips it and halves the loss scale.

    After `dynamic_growth_steps` updates in a row the scale doubles. `LossScaleOptimizer.apply` does the same with
    scaled gradients, but cannot be used where the gradients are already reduced over replicas.

    Args:
        optimizer: A `keras.optimizers.LossScaleOptimizer`.
        gradients: The unscaled gradients, the same on every replica.
        variables: The variables to update, on every replica.
        finite: Whether all the gradients are finite, a bool scalar. If not, the update is skipped.
    """
    scale, steps = optimizer.dynamic_scale, optimizer.step_counter

    def apply(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        apply_reduced(optimizer.inner_optimizer, gradients, variables)
        grows = tf.equal(steps.value, tf.cast(optimizer.dynamic_growth_steps - 1, steps.dtype))
        scale.assign(tf.where(grows, scale.value * 2.0, scale.value))
        steps.assign(tf.where(grows, tf.zeros_like(steps.value), steps.value + 1))
        return tf.constant(True)

    def skip() -> tf.Tensor:
        scale.assign(scale.value * 0.5)
        steps.assign(tf.zeros_like(steps.value))
        return tf.constant(False)

    outside(lambda finite, *gradients: tf.cond(finite, lambda: apply(gradients), skip), finite, *gradients)
