"""The loss of a task: the mean over a batch of a loss of targets and values."""

from typing import Any

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.distribution.replicas import num_replicas
from mtq.storage.deserialization import check_classes

_BY_NAME = {"squared": vl.squared, "huber": vl.huber}
_FAR = 2.0**500  # an error larger than any delta; a power of two, so that products with it are exact


class TDLoss:
    """The mean over a batch of a loss of targets and values.

    Args:
        loss: The loss: `"squared"`, `"huber"`, a `keras.losses.Loss` or its config, or the name of a Keras loss.

    Raises:
        ValueError: The loss is unknown.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss if isinstance(loss, str) and loss in _BY_NAME else _keras_loss(loss)

    def __call__(self, targets: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Computes the mean loss over a batch.

        Args:
            targets: The targets, `[B]` float32.
            values: The values of the chosen actions, `[B]` float32.

        Returns:
            The mean loss, a float32 scalar.
        """
        if isinstance(self.loss, str):
            return tf.reduce_mean(_BY_NAME[self.loss](targets - values))
        # The dtype of the user's loss may be another.
        loss = tf.cast(tf.reduce_mean(self.loss(targets[:, None], values[:, None])), tf.float32)
        # Keras sums the losses of the replicas, so its losses divide by their number. mtq averages them instead.
        return loss * num_replicas() if num_replicas() > 1 and self._is_reduced() else loss

    def _is_reduced(self) -> bool:
        """Returns whether the loss is a Keras loss that reduces a batch to one number."""
        loss: Any = self.loss
        is_own = isinstance(loss, keras.losses.Loss) and type(loss).__call__ is keras.losses.Loss.__call__
        return is_own and loss.reduction not in (None, "none")

    def serialize(self) -> Any:
        """Returns an argument from which the constructor creates the same loss."""
        if isinstance(self.loss, str):
            return self.loss
        config = keras.losses.serialize(self.loss)
        if type(self.loss) is keras.losses.Huber:  # in Keras 3.15, its own config leaves delta out
            config["config"] = {**config["config"], "delta": _delta(self.loss)}
        return config


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
        raise ValueError(f"loss must be one of {sorted(_BY_NAME)}, or a Keras loss. Received: {loss!r}.")
    return keras_loss
