"""Keras's optimizers where gradients are reduced over the replicas already."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.replicas import outside
from mtq.keras_internals import apply_outside_of_replicas, apply_without_sum


def apply_reduced(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
    """`optimizer.apply`, which leaves out the sum over replicas: clipping and all else see the run's gradient.

    Args:
        optimizer: Of Keras.
        gradients: The same on every replica.
        variables: To be changed on every replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None:
        # Keras would enter the replicas' common context once more; `on_means` is there already.
        apply_outside_of_replicas(optimizer, gradients, variables)
    elif replica.num_replicas_in_sync > 1:
        apply_without_sum(optimizer, gradients, variables)
    elif optimizer.gradient_accumulation_steps or (optimizer.use_ema and optimizer.ema_overwrite_frequency):
        outside(lambda *given: _apply_outside(optimizer, given, variables), *gradients)  # they update conditionally
    else:
        optimizer.apply(gradients, variables)


def _apply_outside(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
    if tf.distribute.in_cross_replica_context():
        apply_reduced(optimizer, gradients, variables)
    else:
        optimizer.apply(gradients, variables)
