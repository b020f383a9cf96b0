"""Computations that a run does once, although it has several replicas, each with its own rows of a batch."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import tensorflow as tf

Result = TypeVar("Result")


def num_replicas() -> int:
    """Returns the number of replicas of the strategy in whose scope or replica context this is called."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def reduced_dtype(strategy: tf.distribute.Strategy) -> tf.DType:
    """Returns the dtype in which values of replicas are summed: float64 for three or more CPU replicas, else float32.

    Processes sum in the order of a ring, which differs from entry to entry of a tensor. With two replicas the order
    does not matter. With more, float64's 53 bits sum the 24 bits of float32 values without rounding, unless the values
    differ by a factor of more than about 2^29. The order then does not matter either, and a run is the same for any
    number of processes that share its replicas. GPUs are not reproducible to the last bit in other operations, and TPUs
    run a single program, so both use float32, which halves the bytes to transfer.

    Args:
        strategy: The strategy of the run.
    """
    if strategy.num_replicas_in_sync <= 2:
        return tf.float32
    return tf.float64 if all("cpu" in device.lower() for device in strategy.extended.worker_devices) else tf.float32


def on_means(function: Callable[..., Result], *values: Any) -> Result:
    """Calls a function with the means of values over all replicas, once for the whole run.

    The function runs in the cross-replica context, and the variables that it assigns are assigned on every replica. A
    single all-reduce, in `reduced_dtype`, transfers all values. On a TPU, whose strategy does not support a
    cross-replica context in a step, every replica calls the function with the same means.

    Args:
        function: The function, which takes as many arguments as there are values. With several replicas it must be the
            same function on each.
        values: The values of this replica, nested float32 tensors of fixed shapes.

    Returns:
        The result of the function, on every replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return function(*values)
    tensors = keras.tree.flatten(values)
    shapes = [tensor.shape for tensor in tensors]
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    flat = tf.cast(flat, reduced_dtype(replica.strategy))

    def call(means: tf.Tensor) -> Result:
        pieces = tf.split(tf.cast(means, tf.float32), [shape.num_elements() for shape in shapes])
        shaped = [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return function(*keras.tree.pack_sequence_as(values, shaped))

    if isinstance(replica.strategy, tf.distribute.TPUStrategy):
        return call(replica.all_reduce(tf.distribute.ReduceOp.MEAN, flat))

    def call_outside(strategy: tf.distribute.Strategy, replica_values: Any) -> Result:
        reduced = strategy.extended.reduce_to(tf.distribute.ReduceOp.MEAN, replica_values, replica_values)
        return call(strategy.experimental_local_results(reduced)[0])

    return replica.merge_call(call_outside, (flat,))


def outside(function: Callable[..., Result], *values: tf.Tensor) -> Result:
    """Calls a function in the cross-replica context, if there is a single replica.

    A `tf.cond` around an optimizer's update is not possible within a replica context. With several replicas, on TPUs
    and without a strategy, the function is called directly.

    Args:
        function: The function, which takes as many arguments as there are values.
        values: The tensors of this replica.

    Returns:
        The result of the function.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or not tf.distribute.has_strategy() or replica.num_replicas_in_sync > 1:
        return function(*values)
    if isinstance(replica.strategy, tf.distribute.TPUStrategy):
        return function(*values)

    def call(strategy: tf.distribute.Strategy, *replica_values: Any) -> Result:
        return function(*(strategy.experimental_local_results(value)[0] for value in replica_values))

    return replica.merge_call(call, values)


def first(strategy: tf.distribute.Strategy, values: Any) -> Any:
    """Returns the values of this process's first replica, for values that are the same on all replicas.

    Args:
        strategy: The strategy of the run.
        values: The nested values that `strategy.run` returned.
    """
    return keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)


def draws_on_host(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether the host steps environments and draws batches, outside the replicas.

    The cores of a TPU all run one program, in which a replica cannot select its own environments and rows.

    Args:
        strategy: The strategy of the run.
    """
    return isinstance(strategy, tf.distribute.TPUStrategy)


def per_replica(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> Any:
    """Combines one value for each replica of this process into a distributed value, which `strategy.run` accepts.

    Args:
        strategy: The strategy of the run.
        values: The nested tensors of each replica of this process, all of the same structure.

    Returns:
        Nested per-replica values, in the structure of a single value.
    """
    leaves = [keras.tree.flatten(value) for value in values]

    def joined(place: int) -> Any:
        return strategy.experimental_distribute_values_from_function(
            lambda replica: leaves[replica.replica_id_in_sync_group % len(values)][place]
        )

    return keras.tree.pack_sequence_as(values[0], [joined(place) for place in range(len(leaves[0]))])


def replica_number() -> int:
    """Returns the index, among the run's replicas, of the replica in which this is called; 0 outside a replica."""
    replica = tf.distribute.get_replica_context()
    number = 0 if replica is None else replica.replica_id_in_sync_group
    return int(tf.get_static_value(number)) if tf.is_tensor(number) else int(number)


def local_devices(strategy: tf.distribute.Strategy) -> list[str | None]:
    """Returns the device on which each replica of this process acts and stores transitions.

    Args:
        strategy: The strategy of the run.

    Returns:
        The names of the devices. With a single replica the only name is None: TensorFlow places the operations.
    """
    if strategy.num_replicas_in_sync == 1 and not draws_on_host(strategy):
        return [None]
    devices = list(strategy.extended.worker_devices)
    return ["/cpu:0"] * len(devices) if draws_on_host(strategy) else devices


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """Returns the indices of this process's replicas among those of the run.

    Args:
        strategy: The strategy of the run.
    """
    num_local = len(local_devices(strategy))
    first_index = worker_index(strategy) * num_local
    return range(first_index, first_index + num_local)


def has_other_processes(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether some of the run's replicas belong to other processes.

    Args:
        strategy: The strategy of the run.
    """
    return strategy.num_replicas_in_sync > len(local_replicas(strategy))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns the index of this process among those of the run. Process 0 is the chief, which writes shared files.

    Args:
        strategy: The strategy of the run.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0
    resolver = strategy.cluster_resolver
    sizes = {job: len(addresses) for job, addresses in resolver.cluster_spec().as_dict().items()}
    chiefs, workers = sizes.get("chief", 0), sizes.get("worker", 0)
    replicas = max(1, chiefs + workers) * len(strategy.extended.worker_devices)
    if replicas != strategy.num_replicas_in_sync:
        raise RuntimeError(
            "TF_CONFIG must stay as it was when the strategy was made. Received: one with the processes "
            f"{sizes}, for a strategy of {strategy.num_replicas_in_sync} replicas. Set it before the process starts."
        )
    return int(resolver.task_id) + chiefs if resolver.task_type == "worker" else 0


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the chief, which writes the files that all processes share.

    The only process of a run is its chief.

    Args:
        strategy: The strategy of the run.
    """
    return worker_index(strategy) == 0


def sums(strategy: tf.distribute.Strategy, numbers: Sequence[float]) -> list[float]:
    """Sums numbers over all processes of a run, each of which must call this function.

    Args:
        strategy: The strategy of the run.
        numbers: The numbers of this process.

    Returns:
        The sum of each number over all processes.
    """
    if not has_other_processes(strategy):
        return [float(number) for number in numbers]
    own, places = tf.constant(numbers, tf.float64), local_replicas(strategy)
    values = strategy.experimental_distribute_values_from_function(
        lambda replica: own if replica.replica_id_in_sync_group % len(places) == 0 else tf.zeros_like(own)
    )
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy().tolist()
