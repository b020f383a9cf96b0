"""Applies gradients that are already reduced over the replicas with Keras's optimizers."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.replicas import outside


def apply_reduced(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
    """Calls `optimizer.apply` without its sum over replicas, so that clipping, for one, sees the reduced gradient.

    Args:
        optimizer: The Keras optimizer.
        gradients: The gradients, the same on every replica.
        variables: The variables, which are updated on every replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None:
        # Keras would enter the cross-replica context, in which `on_means` already runs this.
        with _replaced(tf.__internal__.distribute.interim, "maybe_merge_call", _call_at_once):
            optimizer.apply(gradients, variables)
    elif replica.num_replicas_in_sync > 1:
        with _replaced(optimizer, "_all_reduce_sum_gradients", lambda pairs: pairs):
            optimizer.apply(gradients, variables)
    elif optimizer.gradient_accumulation_steps or (optimizer.use_ema and optimizer.ema_overwrite_frequency):
        # These optimizers update conditionally, which is not possible within a replica.
        outside(lambda *values: _apply_outside(optimizer, values, variables), *gradients)
    else:
        optimizer.apply(gradients, variables)


def _apply_outside(optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
    if tf.distribute.in_cross_replica_context():
        apply_reduced(optimizer, gradients, variables)
    else:
        optimizer.apply(gradients, variables)


def _call_at_once(function: Any, strategy: tf.distribute.Strategy, *args: Any, **kwargs: Any) -> Any:
    return function(strategy, *args, **kwargs)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replaces an attribute within a `with` block, in which a graph is traced."""
    original = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name) if original is None else setattr(owner, name, original)
