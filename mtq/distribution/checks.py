"""Checks that find mistakes with several replicas before training."""

import keras
import tensorflow as tf

from mtq.keras_internals import strategy_of


def check_optimizer(optimizer: keras.optimizers.Optimizer, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if an optimizer's variables would not exist on every replica.

    Args:
        optimizer: The Keras optimizer.
        strategy: The strategy in whose scope the model was created.
    """
    optimizer_strategy = strategy_of(optimizer, strategy)
    if strategy.num_replicas_in_sync > 1 and optimizer_strategy is not strategy:
        raise ValueError(
            f"The optimizer must be created in the scope of the model's strategy, {type(strategy).__name__}. Received: "
            f"an optimizer created in the scope of {type(optimizer_strategy).__name__}. Create it within `with "
            "strategy.scope():`, like the model."
        )


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError unless the number of replicas divides the batch size.

    Args:
        batch_size: The number of rows B of each task's batch, over all replicas.
        strategy: The strategy in whose scope the model was created.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        lower = batch_size // replicas * replicas
        raise ValueError(
            f"batch_size must be a multiple of the number of replicas, {replicas}, which share a batch. Received: "
            f"{batch_size}. Give {lower + replicas}{f' or {lower}' if lower else ''}."
        )


def check_host(name: str, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if the host of a TPU cannot step a task's environment in Python.

    Args:
        name: The name of a task whose environment is written in Python.
        strategy: The strategy in whose scope the model was created.
    """
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return
    resolver = strategy.cluster_resolver
    if resolver is not None and str(resolver.master()).startswith("grpc://"):
        raise ValueError(
            f"Task '{name}' must be stepped by the TPU's host, because its environment is written in Python. Received: "
            f"a TPU at {resolver.master()}, whose host does not run this program. Run on the TPU VM itself with "
            "tpu='local', or use an in-graph task ('in_graph/…'; `mtq tasks` lists them)."
        )


def check_outside_of_scope(what: str, strategy: tf.distribute.Strategy) -> None:
    """Raises a ValueError if it is called within the scope of a strategy with several replicas.

    Args:
        what: The name of the object that is being created, for the message.
        strategy: The strategy in whose scope the model was created.
    """
    if strategy.num_replicas_in_sync > 1 and tf.distribute.has_strategy():
        raise ValueError(
            f"{what} must be created outside strategy.scope(), because every replica has its own instead of a copy. "
            "Received: a call within the scope. Create only the network, the model and the optimizer there."
        )
