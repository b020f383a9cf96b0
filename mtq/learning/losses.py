"""The loss of a task: the mean over a batch of a loss of targets and values."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.distribution.replicas import num_replicas
from mtq.heads import Head, Scalar, Target
from mtq.heads import get as get_head
from mtq.storage.deserialization import check_classes

_OF_ERRORS = {"squared": vl.squared, "huber": vl.huber}
_OF_DISTRIBUTIONS = ("cross_entropy", "quantile_huber")
_FAR = 2.0**500  # an error larger than any delta; a power of two, so that products with it are exact


def fits_heads(loss: Any, heads: str) -> bool:
    """Whether a loss, as it is given to `ValueLoss`, fits heads.

    Args:
        loss: The loss.
        heads: The name of the heads.
    """
    is_of_distributions = isinstance(loss, str) and loss in _OF_DISTRIBUTIONS
    return loss is None or (loss in get_head(heads).loss_names if is_of_distributions else heads == "scalar")


class RowLosses(NamedTuple):
    """The loss of a batch.

    Attributes:
        mean: The mean loss over the rows, a float32 scalar.
        losses: The losses of the rows without weights, `[B]` float32, by which samplers set priorities; None if these
            follow from temporal-difference errors instead.
    """

    mean: tf.Tensor
    losses: tf.Tensor | None


class ValueLoss:
    """The mean over a batch of a loss that compares a head's outputs with its targets.

    Args:
        loss: The loss: `"squared"`, `"huber"`, a `keras.losses.Loss` or its config, or the name of a Keras loss, for
            heads of scalar values; `"cross_entropy"` or `"quantile_huber"` for heads of distributions; None for the
            default of each head.

    Attributes:
        loss: The loss, as it was given or as an object of Keras.

    Raises:
        ValueError: The loss is unknown.
    """

    def __init__(self, loss: Any = None) -> None:
        is_known = loss is None or (isinstance(loss, str) and (loss in _OF_ERRORS or loss in _OF_DISTRIBUTIONS))
        self.loss = loss if is_known else _keras_loss(loss)

    def check(self, heads: Mapping[str, Head]) -> None:
        """Raises a ValueError if the loss fits the head of no task. Heads that it does not fit have their default.

        Args:
            heads: The heads by task.
        """
        if self.loss is None or any(self._fits(head) for head in heads.values()):
            return
        for name, head in heads.items():
            of_errors = ", or a Keras loss of targets and values" if learns_errors(head) else ""
            known = [loss for loss in head.loss_names if loss in _OF_DISTRIBUTIONS or learns_errors(head)]
            wanted = (" or ".join(map(repr, known)) or "its own") + of_errors
            raise ValueError(
                f"loss must fit the head of task '{name}', a {type(head).__name__}, whose loss is {wanted}. Received: "
                f"{self.loss!r}. Leave loss out, or build the network with other heads."
            )

    def __call__(self, head: Head, target: Target, outputs: tf.Tensor, weight: tf.Tensor | None = None) -> RowLosses:
        """Computes the loss of a batch.

        Args:
            head: The head.
            target: The targets.
            outputs: The head's outputs for the chosen actions, `[B]` or `[B, N]` float32.
            weight: The factors of the rows' losses, `[B]` float32; None if all count the same.

        Returns:
            The mean loss and the losses of the rows.
        """
        if learns_errors(head):
            return RowLosses(self.of_values(target.encoded, outputs, weight), None)
        losses = head.losses(target, outputs)
        return RowLosses(tf.reduce_mean(losses if weight is None else losses * weight), losses)

    def of_values(self, targets: tf.Tensor, values: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        """Computes the mean loss of scalar values over a batch.

        Args:
            targets: The targets, `[B]` float32.
            values: The values of the chosen actions, `[B]` float32.
            weight: The factors of the rows' losses, `[B]` float32; None if all count the same.

        Returns:
            The mean loss, a float32 scalar.
        """
        if self.loss is None or isinstance(self.loss, str):
            losses = _OF_ERRORS.get(self.loss or "", vl.squared)(targets - values)
            return tf.reduce_mean(losses if weight is None else losses * weight)
        # The dtype of the user's loss may be another.
        loss = tf.cast(tf.reduce_mean(self._keras_losses(targets[:, None], values[:, None], weight)), tf.float32)
        # Keras sums the losses of the replicas, so its losses divide by their number. mtq averages them instead.
        return loss * num_replicas() if num_replicas() > 1 and self._is_reduced() else loss

    def _fits(self, head: Head) -> bool:
        if isinstance(self.loss, str) and self.loss not in _OF_ERRORS:
            return self.loss in head.loss_names
        return learns_errors(head)

    def _keras_losses(self, targets: tf.Tensor, values: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
        loss: Any = self.loss
        if weight is None:
            return loss(targets, values)
        if isinstance(loss, keras.losses.Loss):
            return loss(targets, values, sample_weight=weight)
        losses = tf.convert_to_tensor(loss(targets, values))
        if losses.shape.rank == 0:
            raise ValueError(
                "loss must return one number for each row if the sampler gives rows different weights. Received: "
                f"{loss!r}, which returns a single number. Leave out its mean: mtq takes it after the weights."
            )
        return tf.reshape(losses, [-1]) * tf.cast(weight, values.dtype)

    def _is_reduced(self) -> bool:
        """Returns whether the loss is a Keras loss that reduces a batch to one number."""
        loss: Any = self.loss
        is_own = isinstance(loss, keras.losses.Loss) and type(loss).__call__ is keras.losses.Loss.__call__
        return is_own and loss.reduction not in (None, "none")

    def serialize(self) -> Any:
        """Returns an argument from which the constructor creates the same loss."""
        if self.loss is None or isinstance(self.loss, str):
            return self.loss
        config = keras.losses.serialize(self.loss)
        if type(self.loss) is keras.losses.Huber:  # in Keras 3.15, its own config leaves delta out
            config["config"] = {**config["config"], "delta": _delta(self.loss)}
        return config


def learns_errors(head: Head) -> bool:
    """Whether a head is trained on temporal-difference errors, by any loss of these, and not by `losses` of its own.

    Args:
        head: The head.
    """
    return isinstance(head, Scalar) and type(head).losses is Scalar.losses


def _delta(loss: keras.losses.Huber) -> float:
    """Returns the delta of Huber's loss, which is its slope at large errors."""
    error = tf.constant([[_FAR]], tf.float64)
    return float(loss.call(tf.zeros_like(error), error)[0]) / _FAR


def _keras_loss(loss: Any) -> Any:
    check_classes(loss)
    try:
        keras_loss = keras.losses.get(loss)
    except (ValueError, TypeError):
        keras_loss = None
    if keras_loss is None:
        known = [*_OF_ERRORS, *_OF_DISTRIBUTIONS]
        raise ValueError(f"loss must be one of {sorted(known)}, or a Keras loss. Received: {loss!r}.")
    return keras_loss
