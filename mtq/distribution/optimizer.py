"""Applies gradients that are already reduced over the replicas with Keras's optimizers."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mtq.distribution.replicas import outside
from mtq.keras_internals import apply_outside_of_replicas, apply_without_sum


def apply_reduced(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """Calls `optimizer.apply` without its sum over replicas, so that clipping, for one, sees the reduced gradient.

    Args:
        optimizer: The Keras optimizer.
        gradients: The gradients, the same on every replica.
        variables: The variables, which are updated on every replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None:
        # Keras would enter the cross-replica context, in which `on_means` already runs this.
        apply_outside_of_replicas(optimizer, gradients, variables)
    elif replica.num_replicas_in_sync > 1:
        apply_without_sum(optimizer, gradients, variables)
    elif optimizer.gradient_accumulation_steps or (optimizer.use_ema and optimizer.ema_overwrite_frequency):
        # These optimizers update conditionally, which is not possible within a replica.
        outside(lambda *values: _apply_outside(optimizer, values, variables), *gradients)
    else:
        optimizer.apply(gradients, variables)


def _apply_outside(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    if tf.distribute.in_cross_replica_context():
        apply_reduced(optimizer, gradients, variables)
    else:
        optimizer.apply(gradients, variables)
