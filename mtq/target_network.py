"""The target network θ⁻: a copy of the online network that follows it slowly."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def copy_of(network: keras.Model) -> keras.Model:
    """A network of the same layers and the same weights, which no optimizer trains."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def hard_update(target: Sequence[keras.Variable], online: Sequence[keras.Variable], due: tf.Tensor) -> None:
    """Copies the online weights where an update is due.

    Args:
        target: Variables of the target network.
        online: Variables of the online network, in the same order.
        due: Whether to copy, bool scalar.
    """

    def copy() -> tf.Tensor:
        for to, of in zip(target, online, strict=True):
            to.assign(of)
        return tf.constant(True)

    tf.cond(due, copy, lambda: tf.constant(False))


def soft_update(target: Sequence[keras.Variable], online: Sequence[keras.Variable], tau: float) -> None:
    """Moves the target a part τ of the way: `θ⁻ ← θ⁻ + τ (θ − θ⁻)`.

    Args:
        target: Variables of the target network.
        online: Variables of the online network, in the same order.
        tau: τ, above 0 and at most 1.

    Reference:
        Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR 2016, section 3.
    """
    for to, of in zip(target, online, strict=True):
        is_float = "float" in to.dtype  # others are states, such as the seed of a dropout
        to.assign(to + tau * (of - to) if is_float else of)
