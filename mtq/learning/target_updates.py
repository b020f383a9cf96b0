"""Updates of a target network's variables from those of the online network."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def hard_update(target: Sequence[keras.Variable], online: Sequence[keras.Variable], due: tf.Tensor) -> None:
    """Copies the online variables to the target if a copy is due.

    Args:
        target: The variables of the target network.
        online: The variables of the online network, in the same order.
        due: Whether a copy is due, a bool scalar.
    """

    def copy() -> tf.Tensor:
        for target_var, online_var in zip(target, online, strict=True):
            target_var.assign(online_var)
        return tf.constant(True)

    tf.cond(due, copy, lambda: tf.constant(False))


def soft_update(target: Sequence[keras.Variable], online: Sequence[keras.Variable], tau: float) -> None:
    """Moves the target variables toward the online variables by the factor τ: `θ⁻ ← θ⁻ + τ (θ − θ⁻)`.

    Variables of other dtypes than floats, such as the seed of a dropout, are copied.

    Args:
        target: The variables of the target network.
        online: The variables of the online network, in the same order.
        tau: The factor τ, above 0 and at most 1.

    Reference:
        Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR 2016, section 3.
    """
    for target_var, online_var in zip(target, online, strict=True):
        is_float = "float" in target_var.dtype  # others are states
        target_var.assign(target_var + tau * (online_var - target_var) if is_float else online_var)
