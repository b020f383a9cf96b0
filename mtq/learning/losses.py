"""From temporal-difference errors to one scalar loss."""

from typing import Any

import keras
import tensorflow as tf

from mtq import value_learning as vl
from mtq.distribution.replicas import num_replicas
from mtq.storage.deserialization import check_classes

_BY_NAME = {"squared": vl.squared, "huber": vl.huber}
_FAR = 2.0**500  # an error above any delta; a power of two, so that products with it are exact


class TDLoss:
    """The mean over a batch of a loss of targets and values.

    Args:
        loss: `"squared"`, `"huber"`, a `keras.losses.Loss`, its config, or the name of one of Keras.

    Raises:
        ValueError: There is no such loss.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss if isinstance(loss, str) and loss in _BY_NAME else _keras_loss(loss)

    def __call__(self, targets: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """The loss.

        Args:
            targets: `[B]` float32.
            values: `[B]` float32.

        Returns:
            A float32 scalar.
        """
        if isinstance(self.loss, str):
            return tf.reduce_mean(_BY_NAME[self.loss](targets - values))
        # The user's loss may have a dtype of its own.
        loss = tf.cast(tf.reduce_mean(self.loss(targets[:, None], values[:, None])), tf.float32)
        # Keras sums the losses of replicas, so its losses divide by their number; mtq averages them and undoes that.
        return loss * num_replicas() if num_replicas() > 1 and self._is_reduced() else loss

    def _is_reduced(self) -> bool:
        """Whether the loss is a Keras loss that reduces a batch to one number."""
        loss: Any = self.loss
        is_own = isinstance(loss, keras.losses.Loss) and type(loss).__call__ is keras.losses.Loss.__call__
        return is_own and loss.reduction not in (None, "none")

    def serialize(self) -> Any:
        """What the constructor takes to make the loss again."""
        if isinstance(self.loss, str):
            return self.loss
        config = keras.losses.serialize(self.loss)
        if type(self.loss) is keras.losses.Huber:  # whose own config, in Keras 3.15, leaves its delta out
            config["config"] = {**config["config"], "delta": _delta(self.loss)}
        return config


def _delta(loss: keras.losses.Huber) -> float:
    """The delta of Huber's loss, which is its slope at large errors."""
    error = tf.constant([[_FAR]], tf.float64)
    return float(loss.call(tf.zeros_like(error), error)[0]) / _FAR


def _keras_loss(loss: Any) -> Any:
    check_classes(loss)
    try:
        found = keras.losses.get(loss)
    except (ValueError, TypeError):
        found = None
    if found is None:
        raise ValueError(f"loss must be one of {sorted(_BY_NAME)}, or a loss of Keras. Received: {loss!r}.")
    return found
