"""Where a study's runs are made: how many at once, on which replicas, and which of them by this process."""

import os

import tensorflow as tf

from mtq.checks import is_whole
from mtq.distribution import read_tf_config
from mtq.distribution import strategy as strategy_by_name
from mtq.distribution.replicas import has_other_processes

Shard = tuple[int, int]
Place = tuple[tf.distribute.Strategy | None, Shard]
WHOLE: Shard = (0, 1)
_NO_TPU = (
    "A study's runs must be made on CPUs or GPUs, for what is noted of gradients lies on the host. Received: a TPU. "
    "Take strategy='auto' here, and `mtq train --strategy tpu` for a single run there."
)


def check_where(workers: int | None, strategy: tf.distribute.Strategy | None, shard: Shard) -> None:
    """Raises a ValueError if what a study was told makes no sense.

    Args:
        workers: As `Study.run` takes it.
        strategy: Likewise.
        shard: As `run_shard` does.
    """
    if workers is not None and (not is_whole(workers) or workers < 1):
        raise ValueError(f"workers must be an integer of at least 1, or None. Received: {workers!r}.")
    are_two = isinstance(shard, tuple | list) and len(shard) == 2 and all(is_whole(one) for one in shard)
    if not are_two or not 0 <= shard[0] < shard[1]:
        raise ValueError(
            f"shard must be a number from 0 and how many shards there are. Received: {shard!r}. Such as (0, 4), the "
            "first of four, and (3, 4), the last."
        )
    if strategy is None:
        return
    if isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError(_NO_TPU)
    if has_other_processes(strategy):
        raise ValueError(
            "A study's strategy must have its replicas in this process, for runs need not wait for each other. "
            f"Received: {type(strategy).__name__}. Give each process its part of the runs, shard=(index, number)."
        )
    if workers not in (None, 1):
        raise ValueError(
            f"workers must be 1 where each run is made on all replicas of a strategy. Received: {workers}, with "
            f"{type(strategy).__name__}."
        )


def default_workers(strategy: tf.distribute.Strategy | None) -> int:
    """One for each core, or one for all replicas."""
    if strategy is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_shard(text: str) -> Shard:
    """`"2/4"` → `(2, 4)`.

    Args:
        text: A shard's number from 0, and how many there are.

    Raises:
        ValueError: It is something else.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(
            f"shard must be its number from 0, a slash, and how many there are. Received: {text!r}. Such as 0/4, 1/4, "
            "2/4 and 3/4."
        )
    shard = (int(parts[0]), int(parts[1]))
    check_where(None, None, shard)
    return shard


def where(strategy: str = "auto", devices: int | None = None, shard: str | None = None) -> Place:
    """What a command line says, as `Study.run_shard` takes it. To be called before TensorFlow is first used.

    Args:
        strategy: As `mtq.distribution.strategy` takes it, but for a TPU. The processes that `TF_CONFIG` names make runs
            of their own, whatever it is; `"multi_worker"` says that there must be some.
        devices: As `mtq.distribution.strategy` takes it.
        shard: As `parse_shard` takes it; by default the process's place in `TF_CONFIG`.

    Returns:
        The strategy of each run, or None; and this process's part of the runs.

    Raises:
        ValueError: There is no such strategy, or not what it needs; or a shard is none.
    """
    part = parse_shard(shard) if shard is not None else _place_in_cluster()
    if strategy == "tpu":
        raise ValueError(_NO_TPU)
    if strategy == "multi_worker":
        if part is None:
            raise ValueError(
                "strategy='multi_worker' of a study needs the environment variable TF_CONFIG, or --shard, by which a "
                "process knows its part of the runs. Received: neither. See docs/scaling.md."
            )
        strategy = "auto"
    if strategy == "auto" and devices is None:
        return None, part or WHOLE
    chosen = strategy_by_name("mirrored" if strategy == "auto" else strategy, devices=devices)
    if strategy == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the workers' processes see no GPU either
        return None, part or WHOLE
    return chosen, part or WHOLE


def _place_in_cluster() -> Shard | None:
    cluster = read_tf_config()
    return None if cluster is None else (cluster.index, len(cluster.addresses))
