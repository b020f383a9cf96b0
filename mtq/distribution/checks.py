"""What goes wrong with several replicas, said before it does."""

from typing import Any

import tensorflow as tf

from mtq.keras_internals import strategy_of


def check_optimizer(optimizer: Any, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if an optimizer's variables would not be on every replica.

    Args:
        optimizer: Of Keras.
        strategy: That the model was made for.
    """
    made_for = strategy_of(optimizer, strategy)
    if strategy.num_replicas_in_sync > 1 and made_for is not strategy:
        raise ValueError(
            f"The optimizer must be made in the scope of the model's strategy, {type(strategy).__name__}. Received: "
            f"one made in that of {type(made_for).__name__}. Make it within `with strategy.scope():`, as the model."
        )


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if the replicas do not divide a batch.

    Args:
        batch_size: B, of each task, all replicas together.
        strategy: That the model was made for.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        lower = batch_size // replicas * replicas
        raise ValueError(
            f"batch_size must be a multiple of the number of replicas, {replicas}, which share it. Received: "
            f"{batch_size}. Give {lower + replicas}{f' or {lower}' if lower else ''}."
        )


def check_host(name: str, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if there is no Python to step a task's environment.

    Args:
        name: Of a task whose environment lives in Python.
        strategy: That the model was made for.
    """
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return
    resolver = strategy.cluster_resolver
    if resolver is not None and str(resolver.master()).startswith("grpc://"):
        raise ValueError(
            f"Task '{name}' must be stepped by the TPU's host, for its environment lives in Python. Received: a "
            f"TPU at {resolver.master()}, whose host runs no Python of yours. Run on the TPU VM itself with "
            "tpu='local', or take an in-graph task ('in_graph/…'; `mtq tasks` lists them)."
        )


def check_outside_of_scope(what: str, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError within the scope of a strategy with several replicas.

    Args:
        what: Is to be made outside.
        strategy: That the model was made for.
    """
    if strategy.num_replicas_in_sync > 1 and tf.distribute.has_strategy():
        raise ValueError(
            f"{what} must be made outside of strategy.scope(), for every replica has its own, and not a copy of one. "
            "Received: a call within it. Only network, model and optimizer belong there."
        )
