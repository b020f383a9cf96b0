"""The loss scale of an optimizer: losses are multiplied by it, their gradients divided by it.

In float16 the gradients of small losses underflow; scaled, they do not. What the tasks' gradients are weighed, combined
and logged by is unscaled, in float32.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.optimizer import apply_reduced
from mtq.distribution.replicas import outside

_SMALLEST = 2.0**-14  # of the scales at which an overflow is put down to the scale


def with_loss_scale(optimizer: Any, network: keras.Model, previous: Any = None) -> Any:
    """The optimizer, in a `LossScaleOptimizer` if the network computes in float16 and there is no loss scale yet.

    Args:
        optimizer: An optimizer of Keras.
        network: The network to be trained.
        previous: The optimizer that the model had before, whose wrapper is kept if it holds this very optimizer.
    """
    is_scaled = is_dynamic(optimizer) or optimizer.loss_scale_factor is not None
    if is_scaled or not any(layer.compute_dtype == "float16" for layer in network._flatten_layers()):
        return optimizer
    if is_dynamic(previous) and previous.inner_optimizer is optimizer:
        return previous
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")


def is_dynamic(optimizer: Any) -> bool:
    """Whether an optimizer finds its loss scale by itself."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def check_loss_scale(optimizer: Any) -> None:
    """Raises a ValueError if an optimizer scales the loss, or applies gradients, in a way that is not known here.

    Args:
        optimizer: An optimizer of Keras.
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
            f"Received: {kind.__name__}, which scales it in a way of its own. Wrap the optimizer itself once: "
            "keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))."
        )
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError(
            f"The optimizer's loss scale must be a positive number. Received: {scale!r}. Give "
            "loss_scale_factor=1024.0, for example, or none."
        )


def loss_scale_of(optimizer: Any) -> tf.Tensor | None:
    """The factor by which losses are to be multiplied, a float32 scalar; None where there is none."""
    if not is_dynamic(optimizer) and optimizer.loss_scale_factor is None:
        return None
    return tf.cast(optimizer.scale_loss(tf.constant(1.0)), tf.float32)


def scaled(gradients: Sequence[tf.Tensor], scale: tf.Tensor) -> list[tf.Tensor]:
    """Gradients times the loss scale."""
    return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]


def unscaled(gradient: Any, scale: tf.Tensor) -> tf.Tensor:
    """A gradient of a scaled loss divided by the scale, in float32 at least: there it cannot underflow.

    Args:
        gradient: A tensor, or `tf.IndexedSlices`.
        scale: The loss scale.
    """
    gradient = tf.convert_to_tensor(gradient)
    gradient = tf.cast(gradient, tf.float32) if gradient.dtype.size < 4 else gradient
    return gradient / tf.cast(scale, gradient.dtype)


def is_to_be_skipped(scale: tf.Tensor, losses_are_finite: tf.Tensor, all_is_finite: tf.Tensor) -> tf.Tensor:
    """Whether an update is left out because its gradients overflowed for the scale alone.

    Losses that are not finite themselves are no matter of the scale; nor is what overflows at the smallest one.
    """
    return tf.logical_and(losses_are_finite, ~all_is_finite) & (scale > _SMALLEST)


def apply_where_finite(
    optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], finite: tf.Tensor
) -> None:
    """An update by a `LossScaleOptimizer`: halves the scale and leaves the variables, or applies and lets it grow.

    `LossScaleOptimizer.apply` does the same to scaled gradients, but not where gradients are reduced already.

    Args:
        optimizer: A `keras.optimizers.LossScaleOptimizer`.
        gradients: Unscaled, the same on every replica.
        variables: To be changed on every replica.
        finite: Whether all the gradients are finite, a bool scalar.
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
