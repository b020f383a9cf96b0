"""What a run does once, though N replicas of its network take part, each with its own rows of a batch."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import tensorflow as tf

Result = TypeVar("Result")


def num_replicas() -> int:
    """N, of the strategy in whose scope or replica this is called."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def reduced_dtype(strategy: tf.distribute.Strategy) -> tf.DType:
    """In what numbers of the replicas are added up: float64 on three CPUs or more, else float32.

    Processes add in an order of their own, a ring's, which differs from number to number. Of two it does not matter.
    float32's 24 bits add up in float64's 53 without rounding where the numbers are not some 2^29 times apart: then it
    does not matter of more either, and a run is the same on however many processes its replicas lie. GPUs do not repeat
    themselves to the last bit elsewhere, and TPUs have one program; both are spared the bytes.
    """
    if strategy.num_replicas_in_sync <= 2:
        return tf.float32
    return tf.float64 if all("cpu" in device.lower() for device in strategy.extended.worker_devices) else tf.float32


def on_means(function: Callable[..., Result], *values: Any) -> Result:
    """Calls a function of the means over all replicas: once for the whole run, outside of the replicas.

    All values travel in one all-reduce, in `reduced_dtype`. What the function changes is changed on every replica.
    Where the strategy has no outside, as on a TPU, every replica calls the function, with the same numbers.

    Args:
        function: Of as many arguments as there are values. With several replicas it must be the same on each.
        values: Nested float32 tensors of fixed shapes, of this replica.

    Returns:
        What the function returns, on every replica.
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

    def call_outside(strategy: tf.distribute.Strategy, of_replicas: Any) -> Result:
        reduced = strategy.extended.reduce_to(tf.distribute.ReduceOp.MEAN, of_replicas, of_replicas)
        return call(strategy.experimental_local_results(reduced)[0])

    return replica.merge_call(call_outside, (flat,))


def outside(function: Callable[..., Result], *values: tf.Tensor) -> Result:
    """Calls a function in the cross-replica context, if there is a single replica.

    A `tf.cond` around an optimizer's update is not possible within a replica. With several replicas, on TPUs and
    without a strategy, the function is called directly.

    Args:
        function: A function of as many arguments as there are values.
        values: Tensors of this replica.

    Returns:
        The result of the function.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or not tf.distribute.has_strategy() or replica.num_replicas_in_sync > 1:
        return function(*values)
    if isinstance(replica.strategy, tf.distribute.TPUStrategy):
        return function(*values)

    def call(strategy: tf.distribute.Strategy, *of_replica: Any) -> Result:
        return function(*(strategy.experimental_local_results(value)[0] for value in of_replica))

    return replica.merge_call(call, values)


def first(strategy: tf.distribute.Strategy, values: Any) -> Any:
    """What the first replica of this process returned; to be used where all return the same."""
    return keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], values)


def draws_on_host(strategy: tf.distribute.Strategy) -> bool:
    """Whether environments are stepped and batches drawn by the host, outside of the replicas.

    A TPU's cores all run one program, in which a replica cannot choose what is its own.
    """
    return isinstance(strategy, tf.distribute.TPUStrategy)


def per_replica(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> Any:
    """One value for each replica of this process, as `strategy.run` takes them apart.

    Args:
        strategy: The strategy.
        values: Nested tensors, for each replica.
    """
    leaves = [keras.tree.flatten(value) for value in values]

    def joined(place: int) -> Any:
        return strategy.experimental_distribute_values_from_function(
            lambda replica: leaves[replica.replica_id_in_sync_group % len(values)][place]
        )

    return keras.tree.pack_sequence_as(values[0], [joined(place) for place in range(len(leaves[0]))])


def replica_number() -> int:
    """Which of the run's replicas this is called in, from 0; 0 outside of them."""
    replica = tf.distribute.get_replica_context()
    number = 0 if replica is None else replica.replica_id_in_sync_group
    return int(tf.get_static_value(number)) if tf.is_tensor(number) else int(number)


def local_devices(strategy: tf.distribute.Strategy) -> list[str | None]:
    """Where each replica of this process acts and remembers; with one replica it is left to TensorFlow."""
    if strategy.num_replicas_in_sync == 1 and not draws_on_host(strategy):
        return [None]
    devices = list(strategy.extended.worker_devices)
    return ["/cpu:0"] * len(devices) if draws_on_host(strategy) else devices


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """The numbers of the replicas of this process, among those of the run."""
    number = len(local_devices(strategy))
    first_of_process = worker_index(strategy) * number
    return range(first_of_process, first_of_process + number)


def has_other_processes(strategy: tf.distribute.Strategy) -> bool:
    """Whether some of the run's replicas lie in other processes."""
    return strategy.num_replicas_in_sync > len(local_replicas(strategy))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Which of the run's processes this is, from 0; 0 is the chief, which writes what all have in common."""
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
    """Whether this is the process that writes what all have in common; True where there is but one.

    Args:
        strategy: The run's.
    """
    return worker_index(strategy) == 0


def sums(strategy: tf.distribute.Strategy, numbers: Sequence[float]) -> list[float]:
    """Sums over all processes of a run, each of which must call it.

    Args:
        strategy: The strategy.
        numbers: Of this process.
    """
    if not has_other_processes(strategy):
        return [float(number) for number in numbers]
    own, places = tf.constant(numbers, tf.float64), local_replicas(strategy)
    values = strategy.experimental_distribute_values_from_function(
        lambda replica: own if replica.replica_id_in_sync_group % len(places) == 0 else tf.zeros_like(own)
    )
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy().tolist()
