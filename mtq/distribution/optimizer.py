"""Keras's optimizers where gradients are reduced over the replicas already."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from mtq.distribution.replicas import outside


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
        with _replaced(tf.__internal__.distribute.interim, "maybe_merge_call", _call_at_once):
            optimizer.apply(gradients, variables)
    elif replica.num_replicas_in_sync > 1:
        with _replaced(optimizer, "_all_reduce_sum_gradients", lambda pairs: pairs):
            optimizer.apply(gradients, variables)
    elif optimizer.gradient_accumulation_steps or (optimizer.use_ema and optimizer.ema_overwrite_frequency):
        outside(lambda *given: _apply_outside(optimizer, given, variables), *gradients)  # they update conditionally
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
    """While a graph is made."""
    kept = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name) if kept is None else setattr(owner, name, kept)
