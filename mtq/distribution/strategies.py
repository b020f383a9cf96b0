"""Chooses the `tf.distribute` strategy of a run."""

import os
from typing import Any

import tensorflow as tf

from mtq.checks import integer, is_whole
from mtq.distribution.failure import STARTUP_TIMEOUT, set_timeouts, worker_errors
from mtq.distribution.tf_config import read_tf_config

NAMES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")


def strategy(
    name: str = "auto", *, devices: int | None = None, tpu: str | None = None, startup_timeout: int = STARTUP_TIMEOUT
) -> tf.distribute.Strategy:
    """Creates the strategy that places a run on devices. Create the network, model and optimizer in its `scope()`.

    Args:
        name: The name of the strategy. `"cpu"`: one replica on this machine's CPU. `"mirrored"`: a replica on each GPU
            or logical CPU. `"multi_worker"`: a replica on each device of each process in `TF_CONFIG`. `"tpu"`: a
            replica on each core. `"auto"`: `"mirrored"` if `devices` is given, else `"tpu"` if `tpu` or `TPU_NAME` is
            set, else `"multi_worker"` if `TF_CONFIG` names several processes, else `"mirrored"` if there are several
            GPUs, else one device.
        devices: The number of replicas of `"mirrored"`; by default the number of GPUs. If it exceeds the number of
            GPUs, logical CPUs are used instead, for tests.
        tpu: The name or address of the TPU, or `"local"`; by default the value of the environment variable `TPU_NAME`.
        startup_timeout: The time in seconds for which the processes of `"multi_worker"` wait for each other at the
            start, an integer of at least 1.

    Returns:
        The strategy.

    Raises:
        ValueError: The strategy is unknown, or this machine does not have the devices that it needs.
        WorkerLostError: Another process did not start in time.

    Example:
        >>> import mtq
        >>> with mtq.distribution.strategy("cpu").scope():
        ...     tasks = mtq.TaskSet([mtq.Task("cart_pole", "CartPole-v1")])
        ...     model = mtq.MultiTaskDQN(mtq.networks.shared_q_network(tasks, mtq.networks.mlp([16])), tasks)
        >>> model.distribute_strategy.num_replicas_in_sync
        1
    """
    if name not in NAMES:
        raise ValueError(f"strategy must be one of {', '.join(NAMES)}. Received: {name!r}.")
    if devices is not None and (not is_whole(devices) or devices < 1):
        raise ValueError(f"devices must be an integer of at least 1, or None. Received: {devices!r}.")
    if devices is not None and name not in ("auto", "mirrored"):
        raise ValueError(
            f"devices must be None unless strategy is 'mirrored' or 'auto'. Received: {devices} with {name!r}. Use "
            "strategy='mirrored', or leave devices out."
        )
    if tpu is not None and name not in ("auto", "tpu"):
        raise ValueError(
            f"tpu must be None unless strategy is 'tpu' or 'auto'. Received: {tpu!r} with {name!r}. Use "
            "strategy='tpu', or leave tpu out."
        )
    if devices is not None and tpu is not None:
        raise ValueError(f"devices or tpu must be None. Received: {devices} and {tpu!r}. Give only one of them.")
    startup_timeout = integer("startup_timeout", startup_timeout)
    if name == "auto":
        name = _best(devices, tpu)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(_mirrored_devices(devices))
    if name == "multi_worker":
        return _multi_worker(startup_timeout)
    if name == "tpu":
        return _tpu(tpu)
    if name == "cpu":
        _hide_gpus()
    return tf.distribute.get_strategy()


def _best(devices: int | None, tpu: str | None) -> str:
    if devices is not None:
        return "mirrored"
    if tpu is not None or os.environ.get("TPU_NAME"):
        return "tpu"
    cluster = read_tf_config()
    if cluster is not None and len(cluster.addresses) > 1:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one device"


def _mirrored_devices(devices: int | None) -> list[str]:
    gpus = len(tf.config.list_physical_devices("GPU"))
    wanted = devices if devices is not None else gpus
    if not wanted:
        raise ValueError(
            "strategy='mirrored' needs GPUs, and this machine has none, or a number of logical CPUs to use instead. "
            "Received: devices=None. Pass devices=2 (--devices 2), for example."
        )
    if wanted <= gpus:
        return [f"/gpu:{number}" for number in range(wanted)]
    return [f"/cpu:{number}" for number in range(_logical_cpus(wanted))]


def _hide_gpus() -> None:
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise ValueError(
            "strategy='cpu' must be chosen before TensorFlow is first used, because it hides the GPUs. Received: "
            f"{error}. Call mtq.distribution.strategy earlier."
        ) from error


def _logical_cpus(wanted: int) -> int:
    """Splits the CPU into a number of logical CPUs, unless TensorFlow is already initialized. Returns that number."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or []) < wanted:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
    except RuntimeError:
        pass  # TensorFlow is already initialized, with the logical CPUs that are counted below
    num_cpus = len(tf.config.list_logical_devices("CPU"))
    if num_cpus < wanted:
        raise ValueError(
            f"strategy='mirrored' with devices={wanted} needs as many logical CPUs, which must be created before "
            f"TensorFlow is first used. Received: {num_cpus}. Call mtq.distribution.strategy earlier."
        )
    return wanted


def _multi_worker(startup_timeout: int) -> tf.distribute.Strategy:
    cluster = read_tf_config()
    if cluster is None:
        raise ValueError(
            "strategy='multi_worker' needs the environment variable TF_CONFIG, which names the processes of the run. "
            "Received: none. See docs/scaling.md for how to set it under Kubernetes and Slurm."
        )
    set_timeouts(cluster, startup_timeout)
    with worker_errors():
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise ValueError(
                "strategy='multi_worker' must be chosen before TensorFlow is first used, because it starts a server "
                f"for the other processes. Received: {error}. Call mtq.distribution.strategy earlier."
            ) from error


def _tpu(name: str | None) -> tf.distribute.Strategy:
    try:
        resolver: Any = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"strategy='tpu' needs a TPU. Received: {name!r}, which failed with: {_first_line(error)}. On a TPU VM, "
            "pass tpu='local'; elsewhere the name or grpc:// address of the TPU, or set TPU_NAME. Without a TPU, use "
            "strategy='auto'; `make test-tpu` compiles for a TPU without one."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
