"""Losses that belong to no task: weight and activity regularizers, and those that layers add by `add_loss`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mtq.keras_internals import flatten_layers
from mtq.task_gradients.watched import WatchedValues, unscaled

_OWN = ("keras.", "mtq.")  # the layers of these packages add losses only through their activity regularizers


class Auxiliary(NamedTuple):
    """The auxiliary losses of one update.

    Attributes:
        loss: The sum R of the losses, a float32 scalar.
        gradient_norm: The norm `‖∇R‖₂`, a float32 scalar.
        gradients: The gradient ∇R for each trainable variable of the network; None where R does not depend on it.
    """

    loss: tf.Tensor
    gradient_norm: tf.Tensor
    gradients: list[tf.Tensor | None]


class AuxiliaryLosses:
    """The sum R of a network's `losses`, and its gradient.

    R is the sum that Keras's own `train_step` adds to the loss: each regularizer of a trainable weight once, and the
    losses that layers add when they are called, once per call. If no layer adds losses, the network is not called.

    Args:
        network: A functional model `{task: observation}` → `{task: q_values}`.
    """

    def __init__(self, network: keras.Model) -> None:
        self._network, self._calls = network, _adds_losses(network)
        self.any = self._calls or any(v.regularizer is not None for v in network.trainable_variables)

    def __call__(self, observations: Mapping[str, Any], loss_scale: tf.Tensor | None = None) -> Auxiliary:
        """Computes R and its gradient.

        The network is called in training mode, but the state that layers update is discarded, so that layers such as
        batch normalization count each batch once.

        Args:
            observations: The observations of a batch, `{task: [B, …]}`.
            loss_scale: The factor by which R is multiplied before it is differentiated, a float32 scalar; None for no
                scaling. The gradient that is returned is unscaled.

        Returns:
            The sum R, the norm of its gradient, and its gradient.
        """
        variables = self._network.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            with WatchedValues(tape, variables, collect_losses=True) as scope:
                if self._calls:
                    self._network(dict(observations), training=True)
                losses = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in self._network.losses]
            loss = tf.add_n(losses) if losses else tf.zeros([])
        sources = [source for _, source in scope.sources]
        if loss_scale is None:
            by_source = [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)]
        else:
            scaled = tape.gradient(loss, sources, output_gradients=loss_scale)
            by_source = [None if g is None else unscaled(g, loss_scale) for g in scaled]
        # The first sources are the variables themselves; the others are values that layers assigned to them.
        gradients = by_source[: len(variables)]
        for (index, _), gradient in list(zip(scope.sources, by_source, strict=True))[len(variables) :]:
            [gradients[index]] = added([gradients[index]], [gradient])
        squares = [tf.reduce_sum(tf.square(tf.cast(g, tf.float32))) for g in gradients if g is not None]
        return Auxiliary(loss, tf.sqrt(tf.add_n(squares)) if squares else tf.zeros([]), gradients)


def added(update: Sequence[tf.Tensor | None], gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Adds two gradients, variable by variable.

    Args:
        update: A gradient for each variable, or None.
        gradients: Another gradient for each variable, or None.

    Returns:
        The sum for each variable; None where both are None.
    """
    return [
        second if first is None else first if second is None else first + second
        for first, second in zip(update, gradients, strict=True)
    ]


def _adds_losses(network: keras.Model) -> bool:
    """Whether any layer adds losses when it is called. Layers not of Keras or mtq are traced to find out."""
    layers = flatten_layers(network)
    if any(getattr(layer, "activity_regularizer", None) is not None for layer in layers):
        return True
    return any(not type(layer).__module__.startswith(_OWN) for layer in layers) and _adds_losses_when_called(network)


def _adds_losses_when_called(network: keras.Model) -> bool:
    found: list[bool] = []

    def call(observations: Mapping[str, tf.Tensor]) -> None:
        with keras.StatelessScope(collect_losses=True) as scope:
            network(observations, training=True)
            found.append(bool(scope.losses))

    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
    try:
        tf.function(call, autograph=False).get_concrete_function(specs)  # traced, never run
    except Exception:
        return True  # assume that losses are added; training will report a real error
    return found[0]
