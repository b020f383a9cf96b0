"""Which `tf.distribute` strategy a run is to have."""

import os
from typing import Any

import tensorflow as tf

from mtq.checks import is_whole
from mtq.distribution.failure import SECONDS_TO_MEET, bound_waiting, worker_errors
from mtq.distribution.tf_config import read_tf_config

NAMES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")


def strategy(
    name: str = "auto", *, devices: int | None = None, tpu: str | None = None, seconds_to_meet: int = SECONDS_TO_MEET
) -> tf.distribute.Strategy:
    """Chooses where a run takes place. Network, model and optimizer are to be made in its `scope()`.

    Args:
        name: `"cpu"`: one replica on this machine's CPU. `"mirrored"`: a replica on each GPU, or on each of so many
            logical CPUs. `"multi_worker"`: a replica on each device of each process that `TF_CONFIG` names. `"tpu"`: a
            replica on each core. `"auto"`: `"mirrored"` if `devices` are given, else a TPU if `tpu` or the environment
            names one, else several processes if `TF_CONFIG` names them, else the GPUs if there are several, else one
            device.
        devices: How many replicas `"mirrored"` has; by default as many as there are GPUs. More than there are GPUs
            are logical CPUs, for trying things out.
        tpu: Name or address of the TPU, or `"local"`; by default what the environment says (`TPU_NAME`).
        seconds_to_meet: How long the processes of `"multi_worker"` wait for each other at the start.

    Returns:
        The strategy.

    Raises:
        ValueError: There is no such strategy, or not what it needs; the message says what to do.
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
        raise ValueError(f"devices are for strategy='mirrored' alone. Received: {devices} with {name!r}.")
    if tpu is not None and name not in ("auto", "tpu"):
        raise ValueError(f"tpu is for strategy='tpu' alone. Received: {tpu!r} with {name!r}.")
    if devices is not None and tpu is not None:
        raise ValueError(f"devices and tpu exclude each other. Received: {devices} and {tpu!r}.")
    if not is_whole(seconds_to_meet) or seconds_to_meet < 1:
        raise ValueError(f"seconds_to_meet must be an integer of at least 1. Received: {seconds_to_meet!r}.")
    if name == "auto":
        name = _best(devices, tpu)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(_mirrored_devices(devices))
    if name == "multi_worker":
        return _multi_worker(seconds_to_meet)
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
            "strategy='mirrored' needs GPUs, of which there are none here, or the number of logical CPUs to stand in "
            "for them. Received: devices=None. Pass devices=2 (--devices 2), for example."
        )
    if wanted <= gpus:
        return [f"/gpu:{number}" for number in range(wanted)]
    return [f"/cpu:{number}" for number in range(_logical_cpus(wanted))]


def _hide_gpus() -> None:
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise ValueError(
            "strategy='cpu' must be chosen before TensorFlow is first used, for it hides the GPUs. Received: "
            f"{error}. Call mtq.distribution.strategy earlier."
        ) from error


def _logical_cpus(wanted: int) -> int:
    """Has TensorFlow take the CPU for so many, unless it is set up already."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or []) < wanted:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
    except RuntimeError:
        pass  # TensorFlow was used before: what there is now counts
    there_are = len(tf.config.list_logical_devices("CPU"))
    if there_are < wanted:
        raise ValueError(
            f"strategy='mirrored' with devices={wanted} needs as many logical CPUs, which have to be made before "
            f"TensorFlow is first used. Received: {there_are}. Call mtq.distribution.strategy earlier."
        )
    return wanted


def _multi_worker(seconds_to_meet: int) -> tf.distribute.Strategy:
    cluster = read_tf_config()
    if cluster is None:
        raise ValueError(
            "strategy='multi_worker' needs the environment variable TF_CONFIG, by which a process knows the others. "
            "Received: none. See docs/scaling.md for what Kubernetes and Slurm set."
        )
    bound_waiting(cluster, seconds_to_meet)
    with worker_errors():
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise ValueError(
                "strategy='multi_worker' must be chosen before TensorFlow is first used, for it starts a server that "
                f"the other processes reach. Received: {error}. Call mtq.distribution.strategy earlier."
            ) from error


def _tpu(name: str | None) -> tf.distribute.Strategy:
    try:
        resolver: Any = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"strategy='tpu' needs a TPU. Received: {name!r}, of which TensorFlow says: {_first_line(error)}. On a TPU "
            "VM pass tpu='local'; elsewhere the name or grpc:// address of the TPU, or set TPU_NAME. Without a TPU, "
            "take strategy='auto'; `make test-tpu` compiles for one."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
